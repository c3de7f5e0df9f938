"""Draw the star as a picture: its tables as cards, its references as lines, as SVG.

The fact stands in the middle. Lines end as in entity-relationship diagrams: a crow's foot and a
ring are any number of rows, two bars are one row, a bar and a ring are one or none.
"""

import io
from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from sparkify_bulk.tables import ARTISTS, NAMES, SONGPLAYS, SONGS, STAR, TIME, USERS, Column, Table

Side = Literal["left", "right"]
Point = tuple[float, float]

# All lengths are in points, from the upper left corner.
_CARD, _HEAD, _ROW = 232.0, 30.0, 21.0
_GAP, _BETWEEN, _MARGIN, _LOOP = 96.0, 40.0, 20.0, 34.0
_PAD, _KEYS = 10.0, 26.0
_POINTS_PER_INCH = 72
_COLUMNS = ((TIME, USERS), (SONGPLAYS,), (SONGS, ARTISTS))
# Where lines to a table arrive: on the side that looks to the middle.
_INNER: dict[str, Side] = {"time": "right", "users": "right", "songs": "left", "artists": "left"}

_FACT, _DIMENSION = "#0072B2", "#444444"
_TEXT, _FAINT, _LINE, _STRIPE = "#1A1A1A", "#666666", "#8A8A8A", "#F5F7F9"
# Text is left as text; whoever shows it takes the first of these fonts that is there.
_FONT = "DejaVu Sans"
_FONTS = f"'{_FONT}', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"


def svg() -> str:
    """Return the picture, the same bytes whenever it is drawn."""
    width = 3 * _CARD + 2 * _GAP + 2 * _MARGIN + _LOOP
    height = max(_stack_height(tables) for tables in _COLUMNS) + 2 * _MARGIN
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "star", "svg.fonttype": "none", "font.family": _FONT}):
        inches = (width / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
        figure = Figure(figsize=inches, dpi=_POINTS_PER_INCH, facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        corners = _corners(height)
        for table in STAR:
            _draw_card(axes, table, corners[table.name])
        for table in STAR:
            for column, target in table.references:
                _draw_reference(axes, table, column, target, corners)
        nobody = {"Date": None, "Creator": None, "Title": "The star: songplays and its dimensions"}
        figure.savefig(out, format="svg", metadata=nobody)
    lines = out.getvalue().replace(f"'{_FONT}'", _FONTS).splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _height(table: Table) -> float:
    return _HEAD + _ROW * len(table.columns)


def _stack_height(tables: Sequence[Table]) -> float:
    return sum(map(_height, tables)) + _BETWEEN * (len(tables) - 1)


def _corners(height: float) -> dict[str, Point]:
    """Return the upper left corner of each card: columns of cards, centred."""
    corners: dict[str, Point] = {}
    for number, tables in enumerate(_COLUMNS):
        y = (height - _stack_height(tables)) / 2
        for table in tables:
            corners[table.name] = (_MARGIN + number * (_CARD + _GAP), y)
            y += _height(table) + _BETWEEN
    return corners


# --- cards ----------------------------------------------------------------------------------------


def _draw_card(axes: Axes, table: Table, corner: Point) -> None:
    x, y = corner
    colour = _FACT if table is SONGPLAYS else _DIMENSION
    axes.add_patch(Rectangle(corner, _CARD, _HEAD, facecolor=colour, edgecolor=colour))
    axes.text(x + _PAD, y + 20, table.name, color="white", fontsize=13, fontweight="bold")
    for number, column in enumerate(table.columns):
        top = y + _HEAD + _ROW * number
        if number % 2:
            axes.add_patch(Rectangle((x, top), _CARD, _ROW, facecolor=_STRIPE, linewidth=0))
        _draw_column(axes, table, column, (x, top + 15))
    axes.add_patch(Rectangle(corner, _CARD, _height(table), fill=False, edgecolor=colour))


def _draw_column(axes: Axes, table: Table, column: Column, baseline: Point) -> None:
    x, y = baseline
    primary = column.name == table.primary_key
    key = "PK" if primary else "FK" if column.name in dict(table.references) else ""
    axes.text(x + _PAD, y, key, color=_FAINT, fontsize=8)
    axes.text(
        x + _PAD + _KEYS,
        y,
        column.name,
        color=_TEXT,
        fontsize=11,
        fontweight="bold" if primary else "normal",
    )
    kind = column.type.replace("timestamp with time zone", "timestamptz")
    axes.text(x + _CARD - _PAD, y, kind, color=_FAINT, fontsize=10, ha="right")


# --- references -----------------------------------------------------------------------------------


def _draw_reference(
    axes: Axes, table: Table, column: str, target: str, corners: dict[str, Point]
) -> None:
    """Draw the line from a column to the primary key of the table that it points to."""
    aim = STAR[NAMES.index(target)]
    inner = _INNER[target]
    # A neighbour below is reached around the outside; the lines from the middle keep the inside.
    side = inner if table is SONGPLAYS else _opposite(inner)
    begin = _anchor(table, column, corners, _opposite(inner) if table is SONGPLAYS else side)
    end = _anchor(aim, aim.primary_key, corners, side)
    bend = (begin[0] + end[0]) / 2 if begin[0] != end[0] else begin[0] + _towards(side) * _LOOP
    axes.plot([begin[0], bend, bend, end[0]], [begin[1], begin[1], end[1], end[1]],
              color=_LINE, linewidth=1.3, solid_joinstyle="round")  # fmt: skip
    away = 1.0 if bend > begin[0] else -1.0
    _draw_many(axes, begin, away)
    optional = next(c.nullable for c in table.columns if c.name == column)
    _draw_one(axes, end, _towards(side), optional=optional)


def _opposite(side: Side) -> Side:
    return "left" if side == "right" else "right"


def _towards(side: Side) -> float:
    return 1.0 if side == "right" else -1.0


def _anchor(table: Table, column: str, corners: dict[str, Point], side: Side) -> Point:
    """Return the point on a card's side where a column's line begins or ends."""
    x, y = corners[table.name]
    number = [c.name for c in table.columns].index(column)
    return x + (_CARD if side == "right" else 0), y + _HEAD + _ROW * (number + 0.5)


def _draw_many(axes: Axes, point: Point, away: float) -> None:
    x, y = point
    for spread in (-6, 6):
        axes.plot([x, x + 11 * away], [y + spread, y], color=_LINE, linewidth=1.3)
    _draw_ring(axes, (x + 14.5 * away, y))


def _draw_one(axes: Axes, point: Point, away: float, *, optional: bool) -> None:
    x, y = point
    for distance in (6,) if optional else (6, 11):
        axes.plot([x + distance * away] * 2, [y - 6, y + 6], color=_LINE, linewidth=1.3)
    if optional:
        _draw_ring(axes, (x + 13 * away, y))


def _draw_ring(axes: Axes, centre: Point) -> None:
    # White inside, above the line, which it would else be struck out by.
    axes.add_patch(Circle(centre, 3.5, facecolor="white", edgecolor=_LINE, linewidth=1.3, zorder=3))
