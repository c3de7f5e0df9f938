"""Workers run what they are given, side by side and in order."""

from collections.abc import Iterator
from graphlib import CycleError

import pytest
from trees import Tree, event, query, read_star, song

import sparkify_bulk
from sparkify_bulk.loading.workers import Step, Worker, Workers, open_workers


@pytest.fixture
def workers(database: str) -> Iterator[Workers]:
    """Open two workers."""
    with open_workers(database, 2) as opened:
        yield opened


def test_steps_run_after_those_they_name(workers: Workers) -> None:
    """Each begins when all it waits for have ended, and hands on what its task returns."""
    begun: list[str] = []

    def step(name: str, *after: str) -> Step:
        return Step(name, lambda _: begun.append(name) or name.upper(), after)  # type: ignore[func-returns-value]

    steps = [step("last", "left", "right"), step("left", "first"), step("right", "first")]
    ended = list(workers.run(*steps, step("first")))
    assert [begun[0], begun[-1], len(begun)] == ["first", "last", 4]
    assert {one.name: one.result for one in ended} == {name: name.upper() for name in begun}


def test_a_misspelt_step_is_an_error_at_once(workers: Workers) -> None:
    """A step that waits for one that there isn't: nothing runs, and the error names both."""
    begun: list[int] = []
    steps = Step("keys", lambda _: begun.append(1)), Step("count", print, after=("kyes",))
    with pytest.raises(ValueError, match="'count' waits for unknown steps: kyes"):
        next(workers.run(*steps))
    assert begun == []


def test_steps_that_wait_for_each_other_are_an_error_at_once(workers: Workers) -> None:
    """A circle of steps is refused before any of them runs."""
    begun: list[int] = []
    others = Step("left", print, after=("right",)), Step("right", print, after=("left",))
    with pytest.raises(CycleError):
        next(workers.run(Step("free", lambda _: begun.append(1)), *others))
    assert begun == []


def test_a_step_is_measured_over_the_connection_it_works_over(
    workers: Workers, database: str
) -> None:
    """Work over another connection than the worker's own is booked to that connection's backend."""
    busy = "SELECT count(*) FROM generate_series(1, 2000000)"
    with open_workers(database, 1) as others:
        (other,) = others.connections

        def work(_: Worker) -> None:
            other.execute(busy)

        (booked,) = workers.run(Step("booked", work, connection=other))
        (elsewhere,) = workers.run(Step("elsewhere", work))
    assert query(database, busy) == [(2000000,)]
    assert booked.server_cpu_seconds
    assert elsewhere.server_cpu_seconds == 0


def test_workers_that_share_no_memory_make_the_same_star(
    database: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plays are staged first then, and matched with their songs by the server."""
    tree.songs("a.json", song(), song(2))
    tree.logs("a.json", *[event(number) for number in range(20)])
    shared = sparkify_bulk.reload(tree.root, dsn=database)
    star = read_star(database)
    monkeypatch.setattr(Workers, "share_memory", False)
    report = sparkify_bulk.reload(tree.root, dsn=database)
    assert read_star(database) == star
    names = [[phase.name for phase in run.phases] for run in (shared, report)]
    assert ["match songplays" in phases for phases in names] == [False, True]
