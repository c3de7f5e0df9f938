"""Tables for people: the end of a run, its rejects, past runs, answers of the star, benchmarks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sparkify_bulk.redaction import printable
from sparkify_bulk.report import Phase, Report, megabytes, thousands

if TYPE_CHECKING:
    from sparkify_bulk.doctor import Diagnosis

_MARKS = {"ok": "green", "warning": "bold yellow", "failure": "bold red", "not asked": "dim"}


def summary(report: Report) -> RenderableType:
    """Return what a run did, as tables."""
    verdict = {
        "succeeded": ("done", "bold green"),
        "succeeded_with_rejects": (f"done, {report.rejects.count:,} rejected", "bold yellow"),
        "failed": ("failed", "bold red"),
    }[report.status]
    head = Text.assemble(
        (verdict[0], verdict[1]),
        f": {report.command} as run {report.run_id} in {report.seconds:.1f} s, "
        f"peak memory {megabytes(report.peak_rss_bytes)}\n{report.target}",
    )
    parts: list[RenderableType] = [head, _inputs(report), _tables(report), _phases(report.phases)]
    if report.rejects.count:
        reasons = ", ".join(
            f"{number:,} {reason}" for reason, number in report.rejects.by_reason.items()
        )
        parts.append(Text(f"rejected: {reasons}; see sparkify-bulk rejects", style="yellow"))
    return Group(*parts)


def listing(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Return rows as a table; numbers stand right, and a missing value is left blank."""
    cells = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD)
    for index, name in enumerate(columns):
        values = [row[index] for row in cells if row[index] is not None]
        numeric = bool(values) and all(_is_number(value) for value in values)
        # As text: in a plain string rich would look for its own marks.
        table.add_column(_cell(name), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(_cell(value) for value in row))
    return table


def comparison(document: Mapping[str, Any]) -> RenderableType:
    """Return what bench.json holds as a table, under the settings that it was measured with."""
    data, server, machine = document["data"], document["server"], document["machine"]
    settings = server["settings"]
    fed = {"files": "reads its files", "client": "is sent its bytes by a client", None: ""}
    shown = (f"{name} {value}" for name, value in settings.items() if name != "server_version")
    read = f"{data['events_records']:,} events in {data['events_files']:,} files"
    memory = megabytes(machine["memory_bytes"])
    lines = [
        f"{read}, {data['songs_files']:,} song files, {document['rounds']} rounds",
        f"{machine['processors']} processors, {memory}, {machine['processor']}",
        f"PostgreSQL {settings['server_version']}, {server['target']}",
        ", ".join(shown),
        "a checkpoint before each" if server["checkpoint_before_each"] else "no checkpoints asked",
    ]
    if server["floor_reads"]:
        lines[-1] += f"; the floor's server {fed[server['floor_reads']]}"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("contender", overflow="fold")
    for name in ("median", "fastest", "× floor", "client\nCPU", "server\nCPU", "peak\nmemory"):
        table.add_column(name, justify="right", no_wrap=True)
    for contender in document["contenders"]:
        table.add_row(*_comparison_row(contender))
    failed = [Text(c["error"], style="red") for c in document["contenders"] if "error" in c]
    return Group(Text("\n".join(lines)), table, *failed)


def _comparison_row(contender: Mapping[str, Any]) -> list[str]:
    def seconds(name: str) -> str:
        value = contender[name]
        return "" if value is None else f"{value:,.2f} s"

    ratio, memory = contender["ratio_to_floor"], contender["peak_rss_bytes"]
    return [
        contender["name"],
        "failed" if "error" in contender else seconds("median_seconds"),
        seconds("min_seconds"),
        "" if ratio is None else f"{ratio:,.2f}",
        seconds("client_cpu_seconds"),
        seconds("server_cpu_seconds"),
        "" if memory is None else megabytes(memory),
    ]


def diagnosis(diagnosis: "Diagnosis") -> RenderableType:
    """Return what the doctor found: a line a check, and below it what to do, if there is any."""
    parts: list[RenderableType] = [_cell(diagnosis.target)] if diagnosis.target else []
    for finding in diagnosis.findings:
        line = Table.grid(padding=(0, 2, 0, 0), expand=True)
        # All the same, so that they stand as columns: the longest status, the longest name.
        line.add_column(width=9)
        line.add_column(width=12)
        line.add_column(ratio=1, overflow="fold")
        line.add_column(justify="right", no_wrap=True)
        mark = Text(finding.status, style=_MARKS[finding.status])
        line.add_row(mark, finding.name, _cell(finding.found), _brief(finding.seconds))
        parts.append(line)
        hints = finding.hint.splitlines()
        parts += [Padding(_cell(hint), (0, 0, 0, 11), expand=False) for hint in hints]
    return Group(*parts)


def _brief(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def console(*, stderr: bool = False) -> Console:
    """Return a console that doesn't cut lines where its output is piped."""
    out = Console(stderr=stderr, highlight=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=120)


def _inputs(report: Report) -> Table:
    songs, events = report.input.songs, report.input.events
    names = ("files", "records", "accepted", "filtered", "rejected", "inserted", "duplicates")
    rows = [(name, getattr(songs, name), getattr(events, name)) for name in names]
    return listing(("input", "songs", "events"), rows)


def _tables(report: Report) -> Table:
    rows = [
        (name, table.inserted, table.updated, table.rows) for name, table in report.tables.items()
    ]
    return listing(("table", "inserted", "updated", "rows"), rows)


def _phases(phases: list[Phase]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("phase")
    # Processor time beside wall time: with two processors both together may be twice as much.
    for name in ("time", "client", "server", "rate"):
        table.add_column(name, justify="right")
    for phase in phases:
        seconds = (phase.seconds, phase.client_cpu_seconds, phase.server_cpu_seconds)
        table.add_row(phase.name, *map(_seconds, seconds), _rate(phase))
    return table


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _rate(phase: Phase) -> str:
    if not phase.records:
        return ""
    seconds = max(phase.seconds, 0.001)
    return (
        f"{thousands(phase.records / seconds)} records/s, {megabytes(int(phase.bytes / seconds))}/s"
    )


def _is_number(value: object) -> bool:
    return not isinstance(value, str | bool) and hasattr(value, "__int__")


def _cell(value: object) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    return Text(printable(str(value)))
