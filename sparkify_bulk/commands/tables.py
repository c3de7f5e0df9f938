"""Tables for people: the end of a run, its rejects, past runs, answers of the star, benchmarks."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sparkify_bulk.redaction import printable
from sparkify_bulk.report import Phase, Report
from sparkify_bulk.units import brief, count, readable_size, thousands

if TYPE_CHECKING:
    from sparkify_bulk.doctor.findings import Diagnosis

_GAP = "  "
_RULE = 60
# So much of a text is always shown in a table; where there is no room for it, rows stand upright.
_LEAST_TEXT, _LEAST_SENTENCE, _LEAST_PATH = 8, 20, 30
# Words up to this length are names and codes, of no use when they are cut.
_LONGEST_WORD = 20
# A number or a moment, with a unit perhaps: 2,110 or 1.8 s or 3 rejects or 2018-11-01 21:00:00+00.
_FIGURE = re.compile(r"[-+]?\d[\d.,:T +-]*Z?( ?[A-Za-z%/]{1,9})?")
# What stands right: a number, or one with a unit that is no date.
_QUANTITY = re.compile(r"-?\d[\d.,]*( (s|ms|B|kB|MB|GB))?")
_IN_FIGURES = "0123456789.,:TZ+-"
_CUT_FIGURE = re.compile(rf"[-+]?\d[{_IN_FIGURES}]*$")
# Wider than any line: what is piped is neither cut nor wrapped.
_PIPED_WIDTH = 100_000

_MARKS = {"ok": "green", "warning": "bold yellow", "failure": "bold red", "not asked": "dim"}


def summary(report: Report, *, verbose: bool = False, options: str = "") -> RenderableType:
    """Return what a run did: its counts as tables, and last what came of it and what to do next.

    Args:
        report: of a run that came to its end.
        verbose: show its phases, too.
        options: what the next command needs to find the same star, with a blank before it.
    """
    head = Text(f"{report.command}, run {report.run_id}: {report.target}")
    parts: list[RenderableType] = [head, "", _inputs(report), "", _tables(report), ""]
    if verbose:
        peak = Text(f"peak memory: {readable_size(report.peak_rss_bytes)}")
        parts += [_phases(report.phases), "", peak, ""]
    return Group(*parts, *_result(report, options))


def _result(report: Report, options: str) -> Iterator[Text]:
    """Yield the lines that say what came of a run, and what to do next."""
    style = "bold yellow" if report.exit_code else "bold green"
    yield Text.assemble(("done", style), f": {_gained(report)} in {report.seconds:.1f} s")
    if skipped := _skipped(report):
        yield Text(skipped)
    if report.rejects.count:
        yield Text(report.rejects.describe(), style="yellow")
    commands = ["rejects", "show"] if report.rejects.count else ["show"]
    yield Text("next: " + ", ".join(f"sparkify-bulk {name}{options}" for name in commands))


def _gained(report: Report) -> str:
    """Say how many plays and songs a run brought."""
    plays, songs = report.tables["songplays"].inserted, report.tables["songs"].inserted
    unchanged = report.input.songs.files_skipped + report.input.events.files_skipped
    if report.command == "reload":
        return f"{count(plays, 'play')}, {count(songs, 'song')}"
    if unchanged and not report.input.songs.files + report.input.events.files:
        return f"nothing new, {count(unchanged, 'file')} unchanged"
    return f"{count(plays, 'new play')}, {count(songs, 'new song')}"


def _skipped(report: Report) -> str:
    """Say which accepted or filtered records brought no row; empty if all did."""
    songs, events = report.input.songs, report.input.events
    parts = [f"{events.filtered:,} filtered (page is not NextSong)"] if events.filtered else []
    duplicates = [
        count(counts.duplicates, noun)
        for counts, noun in ((events, "play"), (songs, "song"))
        if counts.duplicates
    ]
    if duplicates:
        parts.append(f"duplicates: {', '.join(duplicates)}")
    return "; ".join(parts)


class Listing:
    """Rows as a table; where the terminal is too narrow, texts are cut, or each row stands upright.

    Numbers and dates are never cut or wrapped. Numbers stand right; a missing value is blank.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Take the columns' names, which may have several lines, and the rows' values."""
        values = [list(row) for row in rows]
        self._names = [printable(name.replace("\n", " ")) for name in columns]
        self._heads = [[printable(line) for line in name.split("\n")] for name in columns]
        self._rows = [[_shown(value) for value in row] for row in values]
        self._right = [_is_numeric([row[index] for row in values]) for index in range(len(columns))]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table's lines, none longer than the terminal is wide."""
        widths = self._widths(options.max_width)
        dash = "-" if options.ascii_only else "─"
        yield from (
            self._upright(console, options.max_width, dash)
            if widths is None
            else self._table(widths, dash)
        )

    def _widths(self, room: int) -> list[int] | None:
        """Return how wide each column is to be; None where the table doesn't fit."""
        natural, least = [], []
        for index, head in enumerate(self._heads):
            cells = [row[index] for row in self._rows]
            heading = max(map(cell_len, head))
            natural.append(max(heading, *map(cell_len, cells), 0))
            least.append(max(heading, *map(_least, cells), 0))
        room -= len(_GAP) * max(len(natural) - 1, 0)
        if sum(least) > room:
            return None
        widths = natural
        while (over := sum(widths) - room) > 0:
            # The widest that may shrink, down to the next one's width or as far as is needed.
            flexible = [i for i, width in enumerate(widths) if width > least[i]]
            widest = max(flexible, key=lambda i: widths[i])
            next_one = max((widths[i] for i in flexible if i != widest), default=0)
            floor = max(least[widest], min(next_one, widths[widest] - 1), widths[widest] - over)
            widths[widest] = floor
        return widths

    def _table(self, widths: Sequence[int], dash: str) -> Iterator[Text]:
        height = max((len(head) for head in self._heads), default=0)
        for number in range(height):
            # Short headings stand on the line above the rule.
            cells = [[""] * (height - len(head)) + head for head in self._heads]
            yield self._line([cell[number] for cell in cells], widths, "bold")
        yield Text(dash * (sum(widths) + len(_GAP) * max(len(widths) - 1, 0)), style="dim")
        for row in self._rows:
            yield self._line(row, widths)

    def _line(self, cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
        parts = []
        for cell, width, right in zip(cells, widths, self._right, strict=True):
            shown = _cut(cell, width)
            blank = " " * (width - cell_len(shown))
            parts.append(blank + shown if right else shown + blank)
        return Text(_GAP.join(parts).rstrip(), style=style, no_wrap=True, overflow="ignore")

    def _upright(self, console: Console, room: int, dash: str) -> Iterator[Text]:
        """Yield each row as lines of a name and a value, as psql's expanded display does."""
        width = min(max(map(len, self._names), default=0), room // 2)
        beside = max(room - width - len(_GAP), 1)
        for number, row in enumerate(self._rows, 1):
            head = f"{dash}{dash} {number} "
            yield Text(head + dash * max(0, min(room, _RULE) - len(head)), style="dim")
            for name, value in zip(self._names, row, strict=True):
                lines = Text(value).wrap(console, beside, overflow="fold") or [Text("")]
                for place, line in enumerate(lines):
                    label = ("" if place else _cut(name, width)).ljust(width)
                    yield Text.assemble((label, "bold"), _GAP, line.plain.rstrip())


def listing(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Listing:
    """Return rows as a table that adapts to the terminal's width."""
    return Listing(columns, rows)


def comparison(document: Mapping[str, Any]) -> RenderableType:
    """Return what bench.json holds as a table, under the settings that it was measured with."""
    data, server, machine = document["data"], document["server"], document["machine"]
    settings = server["settings"]
    fed = {"files": "reads its files", "client": "is sent its bytes by a client", None: ""}
    shown = (f"{name} {value}" for name, value in settings.items() if name != "server_version")
    read = f"{data['events_records']:,} events in {data['events_files']:,} files"
    memory = readable_size(machine["memory_bytes"])
    lines = [
        f"{read}, {data['songs_files']:,} song files, {count(document['rounds'], 'round')}",
        f"{machine['processors']} processors, {memory}, {machine['processor']}",
        f"PostgreSQL {settings['server_version']}, {server['target']}",
        ", ".join(shown),
        "a checkpoint before each" if server["checkpoint_before_each"] else "no checkpoints asked",
    ]
    if server["floor_reads"]:
        lines[-1] += f"; the floor's server {fed[server['floor_reads']]}"
    names = ("median", "fastest", "× floor", "client\nCPU", "server\nCPU", "peak\nmemory")
    table = listing(("contender", *names), map(_comparison_row, document["contenders"]))
    failed = [Text(c["error"], style="red") for c in document["contenders"] if "error" in c]
    return Group(Text("\n".join(lines)), Text(""), table, *failed)


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
        "" if memory is None else readable_size(memory),
    ]


def diagnosis(diagnosis: "Diagnosis") -> RenderableType:
    """Return what the doctor found: a line a check, and below it what to do, if there is any."""
    parts: list[RenderableType] = [_cell(diagnosis.target)] if diagnosis.target else []
    for finding in diagnosis.findings:
        line = Table.grid(padding=(0, 2, 0, 0))
        # All the same, so that they stand as columns: the longest status, the longest name.
        line.add_column(width=9)
        line.add_column(width=16)
        line.add_column(width=6, justify="right", no_wrap=True)
        line.add_column(overflow="fold")
        mark = Text(finding.status, style=_MARKS[finding.status])
        line.add_row(mark, finding.name, brief(finding.seconds), _cell(finding.found))
        parts.append(line)
        hints = finding.hint.splitlines()
        parts += [Padding(_cell(hint), (0, 0, 0, 11), expand=False) for hint in hints]
    return Group(*parts)


class _Console(Console):
    """A console whose closed output is for the command to deal with, not its end."""

    def on_broken_pipe(self) -> None:
        """Pass the error on that is being handled."""
        raise  # noqa: PLE0704 - rich calls this where it handles one


def console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or error; it doesn't cut lines that are piped."""
    out = _Console(stderr=stderr, highlight=False)
    return out if out.is_terminal else _Console(stderr=stderr, highlight=False, width=_PIPED_WIDTH)


def _inputs(report: Report) -> Listing:
    songs, events = report.input.songs, report.input.events
    names = ("files", "records", "accepted", "filtered", "rejected", "inserted", "duplicates")
    rows = [(name, getattr(songs, name), getattr(events, name)) for name in names]
    return listing(("input", "songs", "events"), rows)


def _tables(report: Report) -> Listing:
    rows = [
        (name, table.inserted, table.updated, table.rows) for name, table in report.tables.items()
    ]
    return listing(("table", "inserted", "updated", "rows"), rows)


def _phases(phases: list[Phase]) -> Listing:
    # Processor time beside wall time: with two processors both together may be twice as much.
    names = ("phase", "time", "client CPU", "server CPU", "rate")
    return listing(names, map(_phase_row, phases))


def _phase_row(phase: Phase) -> list[str]:
    seconds = (phase.seconds, phase.client_cpu_seconds, phase.server_cpu_seconds)
    return [phase.name, *map(_seconds, seconds), _rate(phase)]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _rate(phase: Phase) -> str:
    if not phase.records:
        return ""
    seconds = max(phase.seconds, 0.001)
    size = readable_size(int(phase.bytes / seconds))
    return f"{thousands(phase.records / seconds)} records/s, {size}/s"


def _is_numeric(values: Sequence[object]) -> bool:
    """Tell whether a column's values stand right: all are numbers, or numbers with a unit."""
    known = [value for value in values if value not in (None, "")]
    return bool(known) and all(map(_is_number, known))


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return bool(_QUANTITY.fullmatch(value))
    return not isinstance(value, bool) and hasattr(value, "__int__")


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return printable(str(value))


def _least(cell: str) -> int:
    """Return how wide a cell must be, at least, to be of use."""
    width = cell_len(cell)
    if _FIGURE.fullmatch(cell):
        return width
    if _is_path(cell):
        return min(width, _LEAST_PATH, cell_len(cell.rpartition("/")[2]) + len("…/"))
    if " " not in cell:
        return width if width <= _LONGEST_WORD else _LEAST_TEXT
    return min(width, _LEAST_SENTENCE)


def _is_path(cell: str) -> bool:
    return "/" in cell and " " not in cell


def _cut(cell: str, width: int) -> str:
    """Return a text that is no wider; an ellipsis stands for what is missing.

    That is the end, but the beginning of a path. A number is left out rather than cut.
    """
    if cell_len(cell) <= width:
        return cell
    if _is_path(cell):
        parts = cell.split("/")
        for first in range(1, len(parts)):
            tail = "/".join(["…", *parts[first:]])
            if cell_len(tail) <= width:
                return tail
    kept = set_cell_size(cell, max(width - 1, 0)).rstrip()
    if cell[len(kept)] in _IN_FIGURES:
        kept = _CUT_FIGURE.sub("", kept).rstrip()
    return f"{kept}…"


def _cell(value: object) -> Text:
    return Text(_shown(value))
