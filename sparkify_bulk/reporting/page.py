"""The page: one HTML file about a run and the star it left, for people to read."""

import contextlib
import datetime as dt
import os
import secrets
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from sparkify_bulk import __version__
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.errors import UsageError
from sparkify_bulk.redaction import printable
from sparkify_bulk.reporting import facts, figures, periods
from sparkify_bulk.reporting.facts import Facts, Row, Star
from sparkify_bulk.reporting.periods import Series
from sparkify_bulk.settings import schemas
from sparkify_bulk.tables import NAMES
from sparkify_bulk.units import count, duration, readable_size, share

_FOLDER = Path(__file__).parent / "templates"
_SUCCESSES = ("succeeded", "succeeded_with_rejects")
_STATUS_WORDS = {
    "succeeded": "succeeded",
    "succeeded_with_rejects": "with rejects",
    "failed": "failed",
    "running": "running",
}
# A load that takes this many times the median of those before is worth a word; seconds more, too.
_SLOW_RATIO, _SLOW_SECONDS, _ENOUGH_RUNS = 2.0, 5.0, 5
_STEPS_NOTE = "Steps stand below their phase; those side by side ran on workers of their own."
_MOST_STEPS = 40
# What rounds to a minute, in seconds.
_MINUTE = 59.95
_MOST_GAPS = 20
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well: `level` is good, warn, bad or running; notes follow by weight."""

    level: str
    title: str
    text: str
    notes: list[str] = field(default_factory=list)


# --- writing --------------------------------------------------------------------------------------


def write(connection: Connection, schema: str, output: Path, run_id: int | None = None) -> None:
    """Write the page about a run, and about the star as it is now.

    Args:
        connection: in autocommit mode.
        schema: where the star lives.
        output: the file; one that exists is replaced, at once and whole.
        run_id: the run's number; None for the last load or reload that ended.

    Raises:
        UsageError: there is no such run, or the file can't be written.
    """
    check_output(output)
    found = facts.read(connection, schemas(schema), run_id)
    _replace(output, render(found).encode())


def check_output(output: Path) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Raises:
        UsageError: says why.
    """
    folder = output.parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="make it, or name another")
    if output.exists() and not output.is_file():
        raise UsageError(f"{output} is not a file", hint="name one; it need not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"no right to write into {folder}", hint="name another folder")


def _replace(output: Path, document: bytes) -> None:
    """Put a file in another's place: who opens it sees the old or the new one, whole."""
    new = output.with_name(f".{output.name[:200]}.{secrets.token_hex(4)}")
    try:
        with new.open("xb") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        new.replace(output)
    except OSError as error:
        raise UsageError(
            f"{output} can't be written: {error.strerror}", hint="name another file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def render(found: Facts) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - for this only

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        # Titles, places, names of files and errors come from files that anybody may have written.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "words": _words}
    report = found.run["report"] or {}
    return environment.get_template("report.html").render(
        facts=found,
        run=found.run,
        verdict=verdict(found),
        key_figures=_key_figures(found, report),
        about=_about(found, report),
        run_charts=_run_charts(report),
        tables=_tables_table(report),
        rejects=_rejects(found.rejects),
        star=found.star if found.star and found.star.days else None,
        star_charts=_star_charts(found.star),
        rankings=_rankings(found.star),
        quality=_quality(found.star),
        history=_history(found),
        moment=f"{found.moment:%Y-%m-%d %H:%M}",
        version=__version__,
    )


# --- whether all is well --------------------------------------------------------------------------


def verdict(found: Facts) -> Verdict:
    """Return whether all is well with a run, and what else to look at."""
    run, report = found.run, found.run["report"] or {}
    notes = [*_run_notes(found), *_star_notes(found)]
    took = f" in {duration(report['seconds'])}" if report else ""
    name = f"Run {run['run_id']} ({run['command']})"
    if run["status"] == "running":
        return Verdict("running", "The run is under way", f"{name} has not ended yet.", notes)
    if run["status"] not in _SUCCESSES:
        return Verdict(
            "bad", "The run failed", f"{name} ended{took}; it changed nothing in the star.", notes
        )
    added = report.get("tables", {}).get("songplays", {}).get("inserted", 0)
    text = f"{name} ended{took} and added {added:,} plays."
    if report.get("stale"):
        newest = report["newest_event"]
        words = (
            f"The newest is of {newest[:16].replace('T', ' ')} UTC." if newest else "It has none."
        )
        title = "Loaded, but the star has no recent event"
        return Verdict("warn", title, f"{text} {words}", notes)
    if run["status"] == "succeeded":
        return Verdict("good", "All is well", text, notes)
    rejected = report.get("rejects", {}).get("count", 0)
    read = _sum(report, "records")
    title = f"Loaded, but {count(rejected, 'record')} {_were(rejected)} rejected"
    return Verdict("warn", title, f"{text} {share(rejected, read)} of the records were refused; "
                   "they are kept, and listed below.", notes)  # fmt: skip


def _run_notes(found: Facts) -> list[str]:
    run, report = found.run, found.run["report"] or {}
    notes = []
    if run["status"] in _SUCCESSES and not _sum(report, "files"):
        notes.append("It read nothing: there was no new or changed file.")
    if usual := _usual_seconds(found):
        ratio = report["seconds"] / usual
        if ratio >= _SLOW_RATIO and report["seconds"] - usual >= _SLOW_SECONDS:
            notes.append(
                f"It took {ratio:.1f} times as long as the median of the runs of "
                f"{run['command']} before it, {duration(usual)}."
            )
    later = [other for other in found.history if other["run_id"] > run["run_id"]]
    if later:
        last = later[0]
        words = _STATUS_WORDS.get(last["status"], last["status"])
        notes.append(
            f"It is not the latest: run {last['run_id']} ({last['command']}, {words}) came later."
        )
    return notes


def _star_notes(found: Facts) -> list[str]:
    if found.star is None:
        return [f"There is no star in the schema {found.schema}."]
    if not found.star.days:
        return ["The star holds no plays."]
    days = sum(gap.days for gap in _gaps(found.star))
    if days:
        return [f"{count(days, 'day')} between the first play and the last {_have(days)} none."]
    return []


def _usual_seconds(found: Facts) -> float | None:
    """Return the median time of the runs like this one before it; None where they are few."""
    if not found.run["report"]:
        return None
    before = [
        run["report"]["seconds"]
        for run in found.history
        if run["run_id"] < found.run["run_id"]
        and run["command"] == found.run["command"]
        and run["status"] in _SUCCESSES
        and run["report"]
    ]
    return statistics.median(before) if len(before) >= _ENOUGH_RUNS else None


# --- the run --------------------------------------------------------------------------------------


def _key_figures(found: Facts, report: Mapping[str, Any]) -> list[Figure]:
    shown = []
    if report:
        usual = _usual_seconds(found)
        shown.append(
            Figure(
                "Duration",
                duration(report["seconds"]),
                f"usually {duration(usual)}" if usual else "",
            )
        )
        records, files = _sum(report, "records"), _sum(report, "files")
        read = f"{readable_size(_sum(report, 'bytes'))} in {count(files, 'file')}"
        shown.append(Figure("Records read", f"{records:,}", read))
        rejected = report["rejects"]["count"]
        shown.append(Figure("Rejected", f"{rejected:,}", f"{share(rejected, records)} of them"))
        added = report["tables"]["songplays"]["inserted"]
        repeated = report["input"]["events"]["duplicates"]
        shown.append(Figure("Plays added", f"{added:,}", f"{repeated:,} known already"))
    star = found.star
    if star and star.days:
        plays = _plays(star)
        shown.append(Figure("Plays in the star", f"{plays:,}", _span(star)))
        paid = star.sizes["paid_users"]
        shown.append(Figure("Users", f"{star.sizes['users']:,}", f"{paid:,} of them paid"))
        matched = sum(row["matched"] for row in star.days)
        shown.append(Figure("Plays with a song", share(matched, plays), f"{matched:,} plays"))
    if report:
        peak = readable_size(report["peak_rss_bytes"])
        shown.append(Figure("Peak memory", peak, "of the process"))
    return shown


def _about(found: Facts, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else there is to say of a run: names and values."""
    run = found.run
    lines = [
        ("Run", f"{run['run_id']}, {run['command']}"),
        ("Status", _STATUS_WORDS.get(run["status"], run["status"])),
        ("Began", _moment(run["started_at"])),
        ("Ended", _moment(run["ended_at"])),
        ("Target", report.get("target") or ""),
        ("Schema", found.schema),
        ("Input", run["input"]),
        ("By", f"{run['client_user']} on {run['client_host']}"),
        ("Exit code", "" if run["exit_code"] is None else str(run["exit_code"])),
    ]
    return [(name, value) for name, value in lines if value]


def _run_charts(report: Mapping[str, Any]) -> list[Chart]:
    phases = report.get("phases", [])
    charts = []
    if phases:
        title = "Where the time went"
        charts.append(
            Chart(
                title,
                figures.timeline(title, _bars(phases)),
                _phases_table(phases),
                _STEPS_NOTE if any(phase["steps"] for phase in phases) else "",
            )
        )
    if _sum(report, "records"):
        title = "What became of the records"
        books = {kind: _fates(book) for kind, book in report["input"].items()}
        charts.append(Chart(title, figures.fates(title, books), _books_table(report), opened=True))
    return charts


def _bars(phases: Iterable[Mapping[str, Any]]) -> list[figures.Bar]:
    bars = []
    for phase in phases:
        bars.append(figures.Bar(phase["name"][:40], phase["began"], phase["seconds"]))
        steps = sorted(phase["steps"], key=lambda step: (step["began"], step["name"]))
        bars += [
            figures.Bar(_step_name(step["name"])[:40], step["began"], step["seconds"], is_step=True)
            for step in steps
        ]
    # The longest tell most.
    longest = sorted(bars, key=lambda bar: (bar.is_step, -bar.seconds))[:_MOST_STEPS]
    return [bar for bar in bars if bar in longest]


def _step_name(name: str) -> str:
    return name.rpartition("/")[2].replace("_", " ")


def _phases_table(phases: Iterable[Mapping[str, Any]]) -> Table:
    rows = []
    for phase in phases:
        rows.append(_phase_row(phase, ""))
        rows += [_phase_row(step, "· ") for step in phase["steps"]]
    columns = (
        "phase", "began", "took", "client CPU", "server CPU", "records", "records/s", "kB/s",
    )  # fmt: skip
    return Table(columns, rows)


def _phase_row(phase: Mapping[str, Any], indent: str) -> list[Any]:
    seconds = max(phase["seconds"], 0.001)
    return [
        indent + phase["name"],
        phase["began"],
        phase["seconds"],
        phase["client_cpu_seconds"],
        phase["server_cpu_seconds"],
        phase["records"] or None,
        round(phase["records"] / seconds) or None,
        round(phase["bytes"] / seconds / 1000) or None,
    ]


def _fates(book: Mapping[str, int]) -> dict[str, int]:
    return {
        "inserted": book["inserted"],
        "known already": book["duplicates"],
        "filtered": book["filtered"],
        "rejected": book["rejected"],
    }


def _books_table(report: Mapping[str, Any]) -> Table:
    songs, events = report["input"]["songs"], report["input"]["events"]
    names = {
        "files": "files read", "files_skipped": "files skipped", "records": "records",
        "accepted": "accepted", "inserted": "· inserted", "duplicates": "· known already",
        "filtered": "filtered", "rejected": "rejected",
    }  # fmt: skip
    rows = [(shown, songs[name], events[name]) for name, shown in names.items()]
    return Table(("", "songs", "events"), rows)


def _tables_table(report: Mapping[str, Any]) -> Table | None:
    tables = report.get("tables")
    if not tables:
        return None
    columns = ("inserted", "updated", "rows")
    rows = [(name, *(tables[name][column] for column in columns)) for name in NAMES]
    return Table(("table", "inserted", "updated", "rows after"), rows)


def _rejects(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rejects by reason, with examples of each."""
    return [
        {"reason": reason, "rejects": first["rejects"], "settled": first["settled"],
         "superseded": first["superseded"], "examples": Table(
             ("file", "line", "column", "detail"),
             [(row["file"], row["line"], row["column"], row["detail"]) for row in (first, *rest)],
         )}
        for reason, (first, *rest) in groupby(rows, lambda row: row["reason"])
    ]  # fmt: skip


# --- the star -------------------------------------------------------------------------------------


def _star_charts(star: Star | None) -> list[Chart]:
    if star is None or not star.days:
        return []
    return [_plays_chart(star), _new_users_chart(star), _levels_chart(star), _hours_chart(star)]


def _series(star: Star, by_day: Mapping[dt.date, Sequence[int]]) -> Series:
    return periods.series(by_day, star.days[0]["day"], star.days[-1]["day"])


def _plays_chart(star: Star) -> Chart:
    series = _series(star, {row["day"]: [row["plays"]] for row in star.days})
    title = f"Plays by {series.unit}"
    table = _series_table(series, "plays")
    return Chart(title, figures.bars(title, series), table, _series_note(series))


def _hours_chart(star: Star) -> Chart:
    title = "Plays by hour and weekday"
    rows = [
        (f"{hour:02}:00", *(star.hours.get((weekday, hour), 0) for weekday in range(7)))
        for hour in range(24)
    ]
    (weekday, hour), most = max(star.hours.items(), key=lambda item: (item[1], item[0]))
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    note = f"UTC. Most on {names[weekday]}s from {hour:02}:00: {count(most, 'play')}."
    columns = ("hour", *(name[:3] for name in names))
    return Chart(title, figures.heat_map(title, star.hours), Table(columns, rows), note)


def _levels_chart(star: Star) -> Chart:
    names = ["free", "paid"]
    counts = {row["day"]: [row["free"], row["paid"]] for row in star.days}
    if any(row["plays"] > row["free"] + row["paid"] for row in star.days):
        names.append("others")
        for row in star.days:
            counts[row["day"]].append(row["plays"] - row["free"] - row["paid"])
    series = _series(star, counts)
    title = f"Plays of free and paid users by {series.unit}"
    table = _series_table(series, *names)
    return Chart(title, figures.lines(title, series, names), table, _series_note(series))


def _new_users_chart(star: Star) -> Chart:
    series = _series(star, {day: [users] for day, users in star.new_users.items()})
    title = f"New users by {series.unit}"
    note = f"By their first play in the star. {_series_note(series)}"
    return Chart(title, figures.bars(title, series), _series_table(series, "new users"), note)


def _series_table(series: Series, *names: str) -> Table:
    return Table((series.unit, *names), list(zip(series.labels, *series.counts, strict=True)))


def _series_note(series: Series) -> str:
    if series.unit == "day":
        return "Days are UTC."
    return (
        f"By {series.unit}, as there are more than {periods.MOST} days; the first {series.unit} "
        "and the last may not be whole. Days are UTC."
    )


def _rankings(star: Star | None) -> list[Ranking]:
    if star is None or not star.days:
        return []
    plays = _plays(star)
    return [
        Ranking("Most played songs", "song", star.songs, plays),
        Ranking("Most played artists", "artist", star.artists, plays),
        Ranking("Top locations", "location", star.locations, plays),
    ]


def _quality(star: Star | None) -> list[Row]:
    """Return what is known of how much: rows of `name`, `known`, `all` and a note."""
    if star is None:
        return []
    plays, sizes = _plays(star), star.sizes
    matched = sum(row["matched"] for row in star.days)
    rows = [
        ("Plays matched with a song", matched, plays, "the others keep the event's own words"),
        ("Songs with a year", sizes["songs"] - sizes["songs_without_year"], sizes["songs"], ""),
        (
            "Artists with a place",
            sizes["artists"] - sizes["artists_without_place"],
            sizes["artists"],
            "",
        ),
    ]
    if star.days:
        days = (star.days[-1]["day"] - star.days[0]["day"]).days + 1
        rows.append(("Days with plays", len(star.days), days, _gaps_note(star)))
    return [
        {"name": name, "known": known, "all": of, "share": share(known, of), "note": note,
         "percent": 100 * known / of if of else 0}
        for name, known, of, note in rows
    ]  # fmt: skip


def _gaps(star: Star) -> list[periods.Gap]:
    return list(periods.gaps(row["day"] for row in star.days))


def _gaps_note(star: Star) -> str:
    """Name the days without plays, as many as can be read."""
    found = _gaps(star)
    if not found:
        return "from the first play to the last"
    shown = sorted(found, key=lambda gap: (-gap.days, gap.first))[:_MOST_GAPS]
    shown.sort(key=lambda gap: gap.first)
    named = [f"{gap.first}" if gap.days == 1 else f"{gap.first} to {gap.last}" for gap in shown]
    more = len(found) - len(shown)
    return f"none on {', '.join(named)}" + (f", and in {more:,} shorter gaps" if more else "")


def _plays(star: Star) -> int:
    return sum(row["plays"] for row in star.days)


def _span(star: Star) -> str:
    first, last = star.days[0]["day"], star.days[-1]["day"]
    return f"{first}" if first == last else f"{first} to {last}"


# --- the runs before ------------------------------------------------------------------------------


def _history(found: Facts) -> Chart:
    runs = [_history_run(run) for run in reversed(found.history)]
    title = f"The last {count(len(runs), 'run')}" if len(runs) > 1 else "The only run"
    columns = (
        "run", "command", "status", "began (UTC)", "took", "records", "rejects", "plays added",
    )  # fmt: skip
    rows = [
        (
            run["run_id"],
            run["command"],
            _STATUS_WORDS.get(run["status"], run["status"]),
            f"{run['started_at']:%Y-%m-%d %H:%M}",
            run["seconds"],
            run["records"],
            run["rejects"],
            run["added"],
        )
        for run in reversed(runs)
    ]
    note = "Failed runs are marked by a cross, those with rejects by their colour."
    return Chart(title, figures.history(title, runs), Table(columns, rows), note, opened=True)


def _history_run(run: Row) -> Row:
    """Return a run as the history shows it; what it had not come to is None."""
    report = run["report"] or {}
    took = run["ended_at"] and (run["ended_at"] - run["started_at"]).total_seconds()
    return run | {
        "seconds": report.get("seconds", took),
        "records": _sum(report, "records") if report else None,
        "rejects": report["rejects"]["count"] if report else None,
        "added": report["tables"]["songplays"]["inserted"] if report else None,
    }


# --- words ----------------------------------------------------------------------------------------


def _sum(report: Mapping[str, Any], name: str) -> int:
    """Add a number of the books of both kinds up."""
    return sum(book[name] for book in report.get("input", {}).values())


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _moment(moment: dt.datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _cell(value: object) -> str:
    """Return a table's cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f} s" if value < _MINUTE else duration(value)
    return f"{value:,}" if isinstance(value, int) else _words(value)


def _words(value: object) -> str:
    """Return text that may come from a file: of a bearable length, what isn't visible escaped.

    Marks that turn the direction of writing around would change what stands beside it.
    """
    text = printable(str(value))
    return text if len(text) <= TEXT_LENGTH else f"{text[:TEXT_LENGTH]}…"
