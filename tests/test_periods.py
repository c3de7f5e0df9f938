"""Counts by day, as series and gaps."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkify_bulk.reporting import periods

DAY = dt.date(2018, 11, 1)


@pytest.mark.parametrize(
    ("days", "unit", "label"),
    [
        (1, "day", "2018-11-01"),
        (400, "day", "2018-11-01"),
        (401, "week", "week of 2018-10-29"),
        (2801, "month", "2018-11"),
        (11_201, "year", "2018"),
    ],
)
def test_many_days_are_drawn_in_wider_periods(days: int, unit: str, label: str) -> None:
    """A series has 400 points or so at most, and begins with the period of its first day."""
    last = DAY + dt.timedelta(days=days - 1)
    series = periods.series({DAY: [1], last: [2]}, DAY, last)
    assert (series.unit, series.labels[0]) == (unit, label)
    assert len(series.starts) <= periods.MOST + 1


@given(
    st.dictionaries(
        st.dates(dt.date(1970, 1, 1), dt.date(2100, 12, 31)),
        st.tuples(st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
    )
)
def test_a_series_loses_no_count_and_no_period(by_day: dict[dt.date, tuple[int, int]]) -> None:
    """Whatever the days, sums stay as they are, and periods follow one another without holes."""
    series = periods.series(by_day, min(by_day), max(by_day))
    assert [sum(column) for column in series.counts] == [
        sum(counts[index] for counts in by_day.values()) for index in (0, 1)
    ]
    assert series.starts == sorted(set(series.starts))
    assert len(set(series.labels)) == len(series.starts)
    assert series.starts[0] <= min(by_day)
    assert series.starts[-1] <= max(by_day)


def test_gaps_are_the_days_between() -> None:
    """Days in a row are no gap; others are named by their first and last day."""
    days = [DAY, DAY + dt.timedelta(1), DAY + dt.timedelta(3), DAY + dt.timedelta(10)]
    found = [(gap.first.day, gap.last.day, gap.days) for gap in periods.gaps(days)]
    assert found == [(3, 3, 1), (5, 10, 6)]
