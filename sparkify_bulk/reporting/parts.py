"""What the page is made of, and its words."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparkify_bulk.redaction import printable
from sparkify_bulk.reporting.facts import Row
from sparkify_bulk.units import duration

SUCCESSES = ("succeeded", "succeeded_with_rejects")
STATUS_WORDS = {
    "succeeded": "succeeded",
    "succeeded_with_rejects": "with rejects",
    "failed": "failed",
    "running": "running",
}
# What rounds to a minute, in seconds.
_MINUTE = 59.95
TEXT_LENGTH = 160


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under the names of their columns; None is a value that isn't known.

    Whole numbers are counts, others are seconds.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def numeric(self) -> list[bool]:
        """Tell of each column whether it holds numbers."""
        return [
            any(isinstance(row[index], int | float) for row in self.rows)
            for index in range(len(self.columns))
        ]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and the table of what it shows.

    Attributes:
        title: what it shows.
        drawn: SVG, once for narrow screens, and perhaps once for wide ones.
        table: the same in numbers.
        note: what to know about it.
        opened: whether its table is seen at once.
    """

    title: str
    drawn: Sequence[str]
    table: Table
    note: str = ""
    opened: bool = False

    @property
    def is_wide(self) -> bool:
        """Tell whether there is one for wide screens."""
        return len(self.drawn) > 1


@dataclass(frozen=True, slots=True)
class Ranking:
    """What there is most of: rows of `name`, `artist` or none, and `plays`."""

    title: str
    column: str
    rows: Sequence[Row]
    plays: int


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure: what it is, the figure, and a word on it."""

    name: str
    value: str
    note: str = ""


def total(report: Mapping[str, Any], name: str) -> int:
    """Return the sum of a count over both kinds of input."""
    return sum(counts[name] for counts in report.get("input", {}).values())


def were(number: int) -> str:
    """Return the verb for a number of things in the past."""
    return "was" if number == 1 else "were"


def have(number: int) -> str:
    """Return the verb for a number of things that have something."""
    return "has" if number == 1 else "have"


def moment_of(moment: dt.datetime | None) -> str:
    """Return a moment for people to read; empty if there is none."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def cell(value: object) -> str:
    """Return a table's cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f} s" if value < _MINUTE else duration(value)
    return f"{value:,}" if isinstance(value, int) else words(value)


def words(value: object) -> str:
    """Return text that may come from a file: of a bearable length, what isn't visible escaped.

    Marks that turn the direction of writing around would change what stands beside it.
    """
    text = printable(str(value))
    return text if len(text) <= TEXT_LENGTH else f"{text[:TEXT_LENGTH]}…"
