"""Counts by day as a series to draw: without holes, and in wider periods where days are many."""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["day", "week", "month", "year"]

# More points than this can't be told apart, nor read in a table.
MOST = 400
# How long a period is at least; and from its first day, to a day in the next.
_DAYS = {"day": 1, "week": 7, "month": 28, "year": 365}
_NEXT = {"day": 1, "week": 7, "month": 31, "year": 366}


@dataclass(frozen=True, slots=True)
class Series:
    """Counts by period: `starts` are the periods' first days, `counts` a list a quantity."""

    unit: Unit
    starts: list[dt.date]
    counts: list[list[int]]

    @property
    def labels(self) -> list[str]:
        """What the periods are called, unambiguously."""
        return [_label(start, self.unit) for start in self.starts]


@dataclass(frozen=True, slots=True)
class Gap:
    """Days in a row on which nothing happened, the first and the last of them."""

    first: dt.date
    last: dt.date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1


def series(by_day: Mapping[dt.date, Sequence[int]], first: dt.date, last: dt.date) -> Series:
    """Add counts up by day, week, month or year: the narrowest of which there are `MOST` at most.

    Args:
        by_day: counts of one or more quantities; days without any may be missing.
        first: the day with which the series begins.
        last: the day with which it ends.
    """
    unit = _unit(first, last)
    width = max(map(len, by_day.values()), default=1)
    sums = {start: [0] * width for start in _starts(first, last, unit)}
    for day, counts in by_day.items():
        here = sums[_start(day, unit)]
        for index, count in enumerate(counts):
            here[index] += count
    return Series(unit, list(sums), [list(column) for column in zip(*sums.values(), strict=True)])


def gaps(days: Iterable[dt.date]) -> Iterator[Gap]:
    """Yield the gaps between days that are given in order."""
    one = dt.timedelta(days=1)
    for before, after in itertools.pairwise(days):
        if after - before > one:
            yield Gap(before + one, after - one)


def _label(start: dt.date, unit: Unit) -> str:
    if unit == "week":
        return f"week of {start}"
    return f"{start}"[: {"day": 10, "month": 7, "year": 4}[unit]]


def _unit(first: dt.date, last: dt.date) -> Unit:
    days = (last - first).days + 1
    fitting: list[Unit] = [unit for unit in ("day", "week", "month") if days <= MOST * _DAYS[unit]]
    return fitting[0] if fitting else "year"


def _start(day: dt.date, unit: Unit) -> dt.date:
    """Return the first day of the period that a day lies in; a week begins on Monday."""
    if unit == "week":
        return day - dt.timedelta(days=day.weekday())
    if unit == "day":
        return day
    return day.replace(day=1) if unit == "month" else day.replace(month=1, day=1)


def _starts(first: dt.date, last: dt.date, unit: Unit) -> Iterator[dt.date]:
    start = _start(first, unit)
    while start <= last:
        yield start
        # A day in the next period, whose start it is then reduced to.
        start = _start(start + dt.timedelta(days=_NEXT[unit]), unit)
