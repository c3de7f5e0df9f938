"""The page's parts on a run, and on the runs before it."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from sparkify_bulk.reporting import figures
from sparkify_bulk.reporting.facts import Facts, Row
from sparkify_bulk.reporting.parts import STATUS_WORDS, Chart, Figure, Table, moment_of, total
from sparkify_bulk.reporting.star_part import days_of, plays_of
from sparkify_bulk.reporting.verdict import usual_seconds
from sparkify_bulk.tables import NAMES
from sparkify_bulk.units import count, duration, readable_size, share

_STEPS_NOTE = "Steps stand below their phase; those side by side ran on workers of their own."
_MOST_STEPS = 40


def key_figures(found: Facts, report: Mapping[str, Any]) -> list[Figure]:
    """Return the figures on top of the page."""
    shown = []
    if report:
        usual = usual_seconds(found)
        shown.append(
            Figure(
                "Duration",
                duration(report["seconds"]),
                f"usually {duration(usual)}" if usual else "",
            )
        )
        records, files = total(report, "records"), total(report, "files")
        read = f"{readable_size(total(report, 'bytes'))} in {count(files, 'file')}"
        shown.append(Figure("Records read", f"{records:,}", read))
        rejected = report["rejects"]["count"]
        shown.append(Figure("Rejected", f"{rejected:,}", f"{share(rejected, records)} of them"))
        added = report["tables"]["songplays"]["inserted"]
        repeated = report["input"]["events"]["duplicates"]
        shown.append(Figure("Plays added", f"{added:,}", f"{repeated:,} known already"))
    star = found.star
    if star and star.days:
        plays = plays_of(star)
        shown.append(Figure("Plays in the star", f"{plays:,}", days_of(star)))
        paid = star.sizes["paid_users"]
        shown.append(Figure("Users", f"{star.sizes['users']:,}", f"{paid:,} of them paid"))
        matched = sum(row["matched"] for row in star.days)
        shown.append(Figure("Plays with a song", share(matched, plays), f"{matched:,} plays"))
    if report:
        peak = readable_size(report["peak_rss_bytes"])
        shown.append(Figure("Peak memory", peak, "of the process"))
    return shown


def about(found: Facts, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what else there is to say of a run: names and values."""
    run = found.run
    lines = [
        ("Run", f"{run['run_id']}, {run['command']}"),
        ("Status", STATUS_WORDS.get(run["status"], run["status"])),
        ("Began", moment_of(run["started_at"])),
        ("Ended", moment_of(run["ended_at"])),
        ("Target", report.get("target") or ""),
        ("Schema", found.schema),
        ("Input", run["input"]),
        ("By", f"{run['client_user']} on {run['client_host']}"),
        ("Exit code", "" if run["exit_code"] is None else str(run["exit_code"])),
    ]
    return [(name, value) for name, value in lines if value]


def run_charts(report: Mapping[str, Any]) -> list[Chart]:
    """Return where a run's time went, and what became of its records."""
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
    if total(report, "records"):
        title = "What became of the records"
        counts = {kind: _fates(numbers) for kind, numbers in report["input"].items()}
        charts.append(
            Chart(title, figures.fates(title, counts), _counts_table(report), opened=True)
        )
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


def _fates(numbers: Mapping[str, int]) -> dict[str, int]:
    return {
        "inserted": numbers["inserted"],
        "known already": numbers["duplicates"],
        "filtered": numbers["filtered"],
        "rejected": numbers["rejected"],
    }


def _counts_table(report: Mapping[str, Any]) -> Table:
    songs, events = report["input"]["songs"], report["input"]["events"]
    names = {
        "files": "files read", "files_skipped": "files skipped", "records": "records",
        "accepted": "accepted", "inserted": "· inserted", "duplicates": "· known already",
        "filtered": "filtered", "rejected": "rejected",
    }  # fmt: skip
    rows = [(shown, songs[name], events[name]) for name, shown in names.items()]
    return Table(("", "songs", "events"), rows)


def tables_table(report: Mapping[str, Any]) -> Table | None:
    """Return what a run changed in each table of the star; None where it did not come to that."""
    tables = report.get("tables")
    if not tables:
        return None
    columns = ("inserted", "updated", "rows")
    rows = [(name, *(tables[name][column] for column in columns)) for name in NAMES]
    return Table(("table", "inserted", "updated", "rows after"), rows)


def rejects_by_reason(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rejects by reason, with examples of each."""
    return [
        {"reason": reason, "rejects": first["rejects"], "resolved": first["resolved"],
         "superseded": first["superseded"], "examples": Table(
             ("file", "line", "column", "detail"),
             [(row["file"], row["line"], row["column"], row["detail"]) for row in (first, *rest)],
         )}
        for reason, (first, *rest) in groupby(rows, lambda row: row["reason"])
    ]  # fmt: skip


def history(found: Facts) -> Chart:
    """Return how the latest runs went."""
    runs = [_history_run(run) for run in reversed(found.history)]
    title = f"The last {count(len(runs), 'run')}" if len(runs) > 1 else "The only run"
    columns = (
        "run", "command", "status", "began (UTC)", "took", "records", "rejects", "plays added",
    )  # fmt: skip
    rows = [
        (
            run["run_id"],
            run["command"],
            STATUS_WORDS.get(run["status"], run["status"]),
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
        "records": total(report, "records") if report else None,
        "rejects": report["rejects"]["count"] if report else None,
        "added": report["tables"]["songplays"]["inserted"] if report else None,
    }
