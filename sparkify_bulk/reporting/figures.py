"""The page's charts: drawn by matplotlib, as SVG that takes its colours and fonts from the page.

The same numbers give the same text. Words in a chart are this package's own, never a file's.
"""

import datetime as dt
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sparkify_bulk.reporting.periods import Series, Unit
from sparkify_bulk.units import tick

# Units of the viewBox. The page shows the narrow ones about as wide as this on a phone, so that
# their text stays as large as it is here; of a wide chart it shows that which fits.
NARROW, WIDE = 380, 920
_TEXT = 11.5
# matplotlib draws with colours that stand for the page's variables, and knows no others.
INK, MUTED, RULE, ACCENT, SECOND, GOOD, WARN, BAD, CARD = (
    f"#01010{number}" for number in range(1, 10)
)
_VARIABLES = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", ACCENT: "--accent", SECOND: "--second",
    GOOD: "--good", WARN: "--warn", BAD: "--bad", CARD: "--card",
}  # fmt: skip
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": _TEXT,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": RULE,
}
_POINTS_PER_INCH = 72
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_STATUS_COLOURS = {"succeeded": ACCENT, "succeeded_with_rejects": WARN}
_FEWEST_PLACES = 12
# Of the ticks on a scale.
_STEPS = (1, 2, 5, 10)
# More bars than this are drawn as one area.
_MOST_BARS = 62


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the timeline: seconds; a step of a phase is drawn below it, and thinner."""

    name: str
    began: float
    seconds: float
    is_step: bool = False


Paint = Callable[[Figure, int], None]


def bars(title: str, series: Series) -> list[str]:
    """Draw how many there were in each period."""

    def paint(figure: Figure, width: int) -> None:
        axes = _axes(figure)
        _fill(axes, series.counts[0])
        _dates(axes, series, width)

    return _charts(title, paint, 200)


def lines(title: str, series: Series, names: Sequence[str]) -> list[str]:
    """Draw several quantities by period, told apart by colour and dashes, and named at their ends.

    There must be no more than three.
    """
    styles = ((ACCENT, "-"), (SECOND, (0, (5, 2))), (MUTED, (0, (1, 1.5))))

    def paint(figure: Figure, width: int) -> None:
        axes = _axes(figure)
        for name, counts, (colour, dashes) in zip(names, series.counts, styles, strict=False):
            marker = "o" if len(counts) == 1 else None
            axes.plot(
                counts, color=colour, linestyle=dashes, linewidth=2, marker=marker, label=name
            )
        axes.set_ylim(0, (max(map(max, series.counts)) or 1) * 1.08)
        _dates(axes, series, width)
        _legend(figure)

    return _charts(title, paint, 200)


def heat_map(title: str, plays: Mapping[tuple[int, int], int]) -> list[str]:
    """Draw plays by weekday and hour: the more, the stronger the colour."""
    most = max(plays.values(), default=0) or 1

    def paint(figure: Figure, _width: int) -> None:
        axes = figure.add_subplot()
        for weekday in range(7):
            for hour in range(24):
                share = plays.get((weekday, hour), 0) / most
                place = (hour + 0.05, weekday + 0.06)
                axes.add_patch(
                    Rectangle(place, 0.9, 0.88, facecolor=ACCENT, alpha=0.07 + 0.93 * share)
                )
        axes.set(xlim=(0, 24), ylim=(7, 0))
        axes.set_xticks([hour + 0.5 for hour in range(0, 24, 3)], map(str, range(0, 24, 3)))
        axes.set_yticks([day + 0.5 for day in range(7)], _WEEKDAYS)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return _charts(title, paint, 200)


def timeline(title: str, steps: Sequence[Bar]) -> list[str]:
    """Draw when each phase began and how long it took, its steps below it."""
    end = max((step.began + step.seconds for step in steps), default=0.0) or 1.0

    def paint(figure: Figure, _width: int) -> None:
        axes = figure.add_subplot()
        for place, step in enumerate(steps):
            _timeline_bar(axes, place, step, end)
        axes.set(xlim=(0, end), ylim=(len(steps) - 0.4, -0.6))
        axes.set_yticks(range(len(steps)), [("  " * step.is_step) + step.name for step in steps])
        for label, step in zip(axes.get_yticklabels(), steps, strict=True):
            label.set_color(MUTED if step.is_step else INK)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
        axes.set_xlabel("seconds since the start")
        axes.grid(axis="x", linewidth=0.8)
        _plain(axes)

    return _charts(title, paint, 48 + 19 * max(len(steps), 2), wide=True)


def _timeline_bar(axes: Axes, place: int, step: Bar, end: float) -> None:
    height, alpha = (0.34, 0.6) if step.is_step else (0.62, 1.0)
    # A step that took no time to speak of is drawn all the same.
    width = max(step.seconds, end / 400)
    axes.barh(place, width, left=step.began, height=height, color=ACCENT, alpha=alpha)
    ended = step.began + width
    # Beside the bar where there is more room.
    left = ended > end * 0.8 and step.began > end * 0.2
    inside = ended > end * 0.8 and not left
    at = step.began if left else (step.began + width / 2 if inside else ended)
    axes.annotate(
        f"{step.seconds:.2f} s",
        (at, place),
        xytext=(-4 if left else (0 if inside else 4), 0),
        textcoords="offset points",
        ha="right" if left else ("center" if inside else "left"),
        va="center_baseline",
        fontsize=_TEXT - 1.5,
        color=CARD if inside else MUTED,
    )


def fates(title: str, by_kind: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Draw what became of the records of each kind, as shares of all of that kind.

    Args:
        title: what the chart shows.
        by_kind: numbers by fate, by kind; the fates are the same for each, four at most.
    """
    looks = ((ACCENT, 1.0), (ACCENT, 0.45), (MUTED, 0.45), (BAD, 1.0))

    def paint(figure: Figure, _width: int) -> None:
        axes = figure.add_subplot()
        for place, counts in enumerate(by_kind.values()):
            total, left = sum(counts.values()) or 1, 0.0
            for (fate, number), (colour, alpha) in zip(counts.items(), looks, strict=False):
                share = number / total
                label = fate if place == 0 else None
                axes.barh(
                    place, share, left=left, height=0.55, color=colour, alpha=alpha, label=label
                )
                left += share
        axes.set(xlim=(0, 1), ylim=(len(by_kind) - 0.5, -0.5))
        axes.set_yticks(range(len(by_kind)), list(by_kind))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        _plain(axes)
        _legend(figure)

    return _charts(title, paint, 130)


def history(title: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Draw how long runs took, and how many records they rejected below that.

    Args:
        title: what the chart shows.
        runs: oldest first: `run_id`, `status`, `seconds` and `rejects`; the last two may be None.
    """

    def paint(figure: Figure, width: int) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        _draw_durations(above, runs)
        rejects = [run["rejects"] or 0 for run in runs]
        below.bar(range(len(runs)), rejects, color=WARN, width=0.7)
        # Room for a number where there is none: a scale from 0 to 0 has no ticks.
        below.set_ylim(0, max(*rejects, 1) * 1.1)
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        for axes, label in ((above, "seconds"), (below, "rejects")):
            axes.set_ylabel(label)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: tick(number)))
            axes.grid(axis="y", linewidth=0.8)
            _plain(axes)
        # A bar of a few runs would be as wide as the chart.
        below.set_xlim(-0.6, max(len(runs), _FEWEST_PLACES) - 0.4)
        step = math.ceil(len(runs) / (30 if width == WIDE else 10))
        places = list(range(len(runs)))[::-step][::-1]
        below.set_xticks(places, [str(runs[place]["run_id"]) for place in places])
        below.set_xlabel("run")
        figure.align_ylabels()

    return _charts(title, paint, 240, wide=True)


def _draw_durations(axes: Axes, runs: Sequence[Mapping[str, Any]]) -> None:
    top = 1.2 * (max((run["seconds"] or 0 for run in runs), default=0) or 1)
    for place, run in enumerate(runs):
        seconds = run["seconds"] or 0
        axes.bar(place, seconds, color=_STATUS_COLOURS.get(run["status"], BAD), width=0.7)
        if run["status"] == "failed":
            # By more than its colour.
            height = seconds + 0.08 * top
            axes.plot(place, height, marker="x", color=BAD, markersize=7, markeredgewidth=2)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=_STEPS))


# --- what they share ------------------------------------------------------------------------------


def _axes(figure: Figure) -> Axes:
    """Return axes for counts."""
    axes = figure.add_subplot()
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=_STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: tick(number)))
    axes.grid(axis="y", linewidth=0.8)
    _plain(axes)
    return axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, pad=5)
    axes.set_axisbelow(True)


def _fill(axes: Axes, counts: Sequence[int]) -> None:
    if len(counts) <= _MOST_BARS:
        axes.bar(range(len(counts)), counts, color=ACCENT, width=0.78)
    else:
        axes.fill_between(range(len(counts)), counts, step="mid", color=ACCENT, linewidth=0)
    axes.set_ylim(0, (max(counts, default=0) or 1) * 1.08)


def _dates(axes: Axes, series: Series, width: int) -> None:
    """Name as many periods as there is room for."""
    number = len(series.starts)
    step = math.ceil(number / (width // 85))
    places = list(range(0, number, step))
    axes.set_xticks(places, [_date(series.starts[place], series.unit) for place in places])
    axes.set_xlim(-0.6, number - 0.4)


def _date(day: dt.date, unit: Unit) -> str:
    names = {
        "day": f"{day.day} {day:%b}",
        "week": f"{day.day} {day:%b %y}",
        "month": f"{day:%b %Y}",
    }
    return names.get(unit, str(day.year))


def _legend(figure: Figure) -> None:
    figure.legend(
        loc="outside upper left",
        ncols=4,
        frameon=False,
        fontsize=_TEXT - 0.5,
        handlelength=1.3,
        handletextpad=0.4,
        columnspacing=1.0,
        borderpad=0.1,
    )


def _charts(title: str, paint: Paint, height: int, *, wide: bool = False) -> list[str]:
    """Return a chart for narrow screens, and where it is wide one for wide screens as well."""
    return [_svg(title, paint, width, height) for width in ((NARROW, WIDE) if wide else (NARROW,))]


def _svg(title: str, paint: Paint, width: int, height: int) -> str:
    with mpl.rc_context():
        # Whatever the user's own matplotlibrc says.
        mpl.rcdefaults()
        mpl.rcParams.update({**_SETTINGS, "svg.hashsalt": f"{title} {width}"})
        size = (width / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
        figure = Figure(figsize=size, layout="constrained", frameon=False)
        paint(figure, width)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True)
    return _inline(drawn.getvalue(), title, width, height)


def _inline(svg: str, title: str, width: int, height: int) -> str:
    """Make an SVG file an element of a page."""
    inner = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    # It would hold for the whole page; the page has its own.
    inner = re.sub(r"<style[^>]*>.*?</style>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)
    # Every chart has an axes_1. What is referred to has a salted name, and keeps it.
    used = set(re.findall(r"#([\w.-]+)", inner))
    inner = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", inner)
    inner = re.sub(r" font-family: [^;\"]+;", "", inner)
    inner = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", inner)
    inner = re.sub(r"#01010[1-9]\b", lambda found: f"var({_VARIABLES[found[0]]})", inner)
    inner = re.sub(r"\n\s*", "\n", inner).strip()
    kind = "wide" if width == WIDE else "narrow"
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title, {chr(34): "&quot;"})}">'
        f"<title>{escape(title)}</title>\n{inner}\n</svg>"
    )
