"""Draw the comparison of a benchmark: a bar a contender, as PNG and SVG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Of the palette by Okabe and Ito, which colour-blind people can tell apart.
_COLOURS = {"sparkify-bulk": "#0072B2", "floor": "#4D4D4D"}
_OTHER_COLOUR = "#E69F00"
_TEXT, _FAINT = "#1A1A1A", "#5A5A5A"
# Wider than this apart, the short bars can't be told apart on a linear scale.
_LINEAR_SPAN = 25
_WIDTH_INCHES, _BAR_INCHES, _MARGIN_INCHES = 9.0, 0.36, 1.5
_DOTS_PER_INCH = 200


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write bench.png and bench.svg into a folder; return their paths, none if nothing was timed.

    Args:
        document: what bench.json holds.
        folder: where to.
    """
    timed = [c for c in document["contenders"] if c["median_seconds"] is not None]
    if not timed:
        return []
    timed.sort(key=lambda contender: contender["median_seconds"], reverse=True)
    height = _MARGIN_INCHES + _BAR_INCHES * len(timed)
    # The same input gives the same file: no date, no random names.
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "path", "font.size": 11}):
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        _draw_bars(axes, timed)
        _draw_words(figure, axes, document)
        paths = [folder / "bench.png", folder / "bench.svg"]
        figure.savefig(paths[0], dpi=_DOTS_PER_INCH, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _draw_bars(axes: Axes, timed: list[dict[str, Any]]) -> None:
    names = [contender["name"] for contender in timed]
    seconds = [contender["median_seconds"] for contender in timed]
    colours = [_COLOURS.get(name, _OTHER_COLOUR) for name in names]
    logarithmic = max(seconds) > _LINEAR_SPAN * min(seconds)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(seconds) / 2.5, max(seconds) * 8)
    else:
        axes.set_xlim(0, max(seconds) * 1.32)
    bars = axes.barh(names, seconds, color=colours, height=0.68)
    axes.bar_label(bars, [_label(contender) for contender in timed], padding=5, color=_TEXT)
    axes.set_xlabel("seconds, on a logarithmic scale" if logarithmic else "seconds", color=_FAINT)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params("y", length=0, labelcolor=_TEXT)
    axes.tick_params("x", colors=_FAINT)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if name in _COLOURS else "normal")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.set_facecolor("white")
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.8)
    axes.set_axisbelow(True)


def _label(contender: Mapping[str, Any]) -> str:
    seconds = f"{seconds_text(contender['median_seconds'])} s"
    ratio = contender["ratio_to_floor"]
    if ratio is None or contender["name"] == "floor":
        return seconds
    return f"{seconds} · {seconds_text(ratio)} × floor"


def seconds_text(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004


def _draw_words(figure: Figure, axes: Axes, document: Mapping[str, Any]) -> None:
    data, server = document["data"], document["server"]["settings"]
    axes.set_title(
        f"{data['events_records']:,} events and {data['songs_files']:,} song files "
        "into the same star",
        loc="left",
        fontsize=13,
        fontweight="bold",
        color=_TEXT,
        pad=10,
    )
    rounds = document["rounds"]
    taken = "one run each" if rounds == 1 else f"median of {rounds} rounds"
    version = server["server_version"].split()[0]
    figure.supxlabel(
        f"whole processes in turn, {taken} · PostgreSQL {version}, fsync {server['fsync']}, "
        f"wal_level {server['wal_level']} · {document['machine']['processors']} processors\n"
        "floor: the server alone copies the finished tables and builds the same keys and indexes",
        fontsize=8.5,
        color=_FAINT,
        x=0.01,
        ha="left",
    )
