"""How much is tried: a part that has everything once by `make test`, all by `make test-all`.

Without `--full` tests that are marked run for fewer cases, always the same ones:

- `covering`: as few as have each value of each argument once;
- `every(N)`: each Nth, beginning with one that depends on the name of the test;
- `full`: none.

A test that is named on the command line, by `FILE::TEST` or `-k`, runs for all of its cases.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import hypothesis
import pytest

MARKS = (
    "covering: without --full, as few cases as have each value of each argument once",
    "every(n): without --full, each nth case",
    "full: only with --full",
)
# Of the examples of a property, and of what else is done many times.
PART = 10
_is_full = False


def configure(config: pytest.Config) -> None:
    """Learn how much is wanted, before tests are collected."""
    global _is_full  # noqa: PLW0603 - decorators of tests ask for it while modules are imported
    _is_full = config.getoption("--full")
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def share(number: int) -> int:
    """Return how often to do what is done so many times at full size."""
    return number if _is_full else max(1, number // PART)


def examples(number: int) -> hypothesis.settings:
    """Return the settings of a property that has so many examples at full size."""
    return hypothesis.settings(max_examples=share(number))


def thin_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs at full size only."""
    named = config.getoption("keyword") or any("::" in word for word in config.args)
    if _is_full or named:
        return
    cases: dict[Any, list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function):
            cases.setdefault((item.parent, item.originalname), []).append(item)
    chosen = {case for group in cases.values() for case in _chosen(group)}
    left_out = [item for item in items if isinstance(item, pytest.Function) and item not in chosen]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _chosen(group: list[pytest.Function]) -> Sequence[pytest.Function]:
    """Choose among the cases of a test."""
    test = group[0]
    if test.get_closest_marker("full"):
        return []
    if every := test.get_closest_marker("every"):
        (step,) = every.args
        return group[zlib.crc32(test.originalname.encode()) % min(step, len(group)) :: step]
    if test.get_closest_marker("covering"):
        return _covering(group)
    return group


def _covering(group: list[pytest.Function]) -> Sequence[pytest.Function]:
    """Choose cases one by one: the one with the most values that none has yet, or few have."""
    values = {case: {(name, repr(v)) for name, v in case.callspec.params.items()} for case in group}
    missing, uses = set().union(*values.values()), Counter[tuple[str, str]]()
    chosen: list[pytest.Function] = []
    while missing:
        best = max(
            values,
            key=lambda case: (len(values[case] & missing), -sum(uses[v] for v in values[case])),
        )
        chosen.append(best)
        missing -= values[best]
        uses.update(values.pop(best))
    return chosen
