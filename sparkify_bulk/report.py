"""What a run did, as a value; and its JSON rendering."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from sparkify_bulk.tables import NAMES
from sparkify_bulk.units import count

Status = Literal["succeeded", "succeeded_with_rejects", "failed"]


@dataclass(slots=True)
class InputReport:
    """The counts of one kind of input: `records = accepted + filtered + rejected`.

    `left_out` counts what the folder holds that isn't input, by reason.
    """

    files: int = 0
    files_skipped: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    records: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: int = 0
    inserted: int = 0
    duplicates: int = 0


@dataclass(slots=True)
class Inputs:
    """The counts of both kinds of input."""

    songs: InputReport = field(default_factory=InputReport)
    events: InputReport = field(default_factory=InputReport)

    def of(self, kind: Literal["songs", "events"]) -> InputReport:
        """Return the counts of one kind."""
        return self.songs if kind == "songs" else self.events


@dataclass(slots=True)
class TableReport:
    """What became of one table of the star; `rows` is its size after the run."""

    inserted: int = 0
    updated: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of a run: wall seconds, and how much it handled where that can be said.

    Attributes:
        name: the step.
        seconds: wall seconds.
        began: seconds from the start of the run to its own.
        client_cpu_seconds: processor time of this process, all threads.
        server_cpu_seconds: processor time of the run's backends; None where the server runs
            elsewhere.
        records: how many it read.
        bytes: and from how many bytes.
        steps: what was done in it side by side, each by one worker.
    """

    name: str
    seconds: float
    began: float = 0.0
    client_cpu_seconds: float = 0.0
    server_cpu_seconds: float | None = None
    records: int = 0
    bytes: int = 0
    steps: tuple["Phase", ...] = ()


@dataclass(slots=True)
class RejectCounts:
    """How many records were rejected, and why."""

    count: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, number: int = 1) -> None:
        """Count rejects of one reason."""
        self.count += number
        self.by_reason[reason] = self.by_reason.get(reason, 0) + number

    def describe(self) -> str:
        """Say how many records were rejected and why, and how many files could not be read."""
        files = self.by_reason.get("unreadable_file", 0)
        parts = [f"{count(files, 'file')} could not be read"] if files else []
        if records := self.count - files:
            were = "was" if records == 1 else "were"
            reasons = (
                f"{number:,} {reason}"
                for reason, number in self.by_reason.items()
                if reason != "unreadable_file"
            )
            parts.append(f"{count(records, 'record')} {were} rejected: {', '.join(reasons)}")
        return "; ".join(parts)


@dataclass(slots=True)
class Report:
    """What a run did.

    Attributes:
        run_id: the run's number in the ledger; None if it failed before it was on record.
        command: `reload` or `load`.
        status: how it ended.
        target: the database, never with a password.
        started_at: when it started, UTC.
        seconds: wall seconds.
        peak_rss_bytes: the largest memory of the process.
        newest_event: when the newest songplay of the star began; None in an empty star, or where
            the run failed.
        stale: that is longer ago than the run was told to put up with.
        error: what ended a failed run.
        published: its transaction is committed; not in the document, which stands in there.
    """

    command: str
    started_at: datetime
    run_id: int | None = None
    status: Status = "failed"
    target: str = ""
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    input: Inputs = field(default_factory=Inputs)
    tables: dict[str, TableReport] = field(
        default_factory=lambda: {name: TableReport() for name in NAMES}
    )
    phases: list[Phase] = field(default_factory=list)
    rejects: RejectCounts = field(default_factory=RejectCounts)
    newest_event: datetime | None = None
    stale: bool = False
    error: str | None = None
    published: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of a run that came to its end."""
        if self.stale:
            return 7
        return {"succeeded": 0, "succeeded_with_rejects": 3, "failed": 1}[self.status]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as the JSON document that `docs/report.md` describes."""
        document = asdict(self)
        del document["published"]
        order = ("run_id", "command", "status", "target")
        head = {key: document.pop(key) for key in order}
        if self.error is None:
            del document["error"]
        return head | document

    def to_json(self) -> bytes:
        """Return the report as one JSON document."""
        import orjson  # noqa: PLC0415 - not needed to start

        return orjson.dumps(self.to_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
