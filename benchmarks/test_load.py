"""Whole processes that load the same tree into the same star.

    pytest benchmarks/test_load.py --benchmark-only --events 1000000 --songs 100000

`sparkify-bulk bench` does the same in interleaved rounds, and tells CPU and memory apart.
"""

from collections.abc import Callable
from typing import Any

import pytest

from sparkify_bulk.bench import contenders, contest
from sparkify_bulk.bench.comparison import Sizes
from sparkify_bulk.bench.ground import Ground, checkpoint

CONTENDERS = [contender for contender in contenders.contenders().values() if not contender.missing]


@pytest.mark.benchmark(group="load")
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_load(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark has no types
    request: pytest.FixtureRequest,
    grounds: Callable[[Sizes], Ground],
    contender: contenders.Contender,
) -> None:
    """Load the tree; the star is the product's, or no time is reported."""
    option = request.config.getoption
    events = option("--events")
    if contender.name.startswith("row-by-row"):
        events = min(events, option("--slow-events"))
    ground = grounds(
        Sizes(events, option("--songs") * events // option("--events"), option("--seed"))
    )
    measured = []

    def load() -> None:
        measured.append(contest.launch(ground, contender))

    def judge() -> None:
        contest.judge(ground, contender, measured[-1])

    benchmark.pedantic(
        load,
        setup=lambda: checkpoint(ground.connection) and None,
        teardown=judge,
        rounds=option("--rounds"),
    )
    if benchmark.disabled:  # then it is only called, without what comes after
        judge()
    benchmark.extra_info |= {
        "events": events,
        "client_cpu_seconds": [one.cpu_seconds for one in measured],
        "peak_rss_bytes": max(one.peak_rss_bytes for one in measured),
    }
