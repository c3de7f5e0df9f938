"""Find out, without writing anything, whether a run would go well: one check after the other.

A check is a function that looks at the subject and returns what it found. Its docstring is the line
that the documentation has of it. Each runs in a transaction of its own, read-only, in which plain
names mean `pg_catalog`'s; what it can't see it says so, and the next one goes on.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any, Literal

import psycopg

from sparkify_bulk import ledger, statements
from sparkify_bulk.database import session
from sparkify_bulk.database.connection import (
    OLDEST_SERVER,
    Connection,
    connect,
    connections_of_run,
    default_is_read_only,
    describe,
    is_here,
    is_pooled,
    leads_here,
    message_of,
    name_target,
    reset_statements,
    weak_tls,
)
from sparkify_bulk.database.session import Session
from sparkify_bulk.database.transaction import set_locally, use_schemas
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError
from sparkify_bulk.loading import marks, merge, state, switch
from sparkify_bulk.redaction import redact
from sparkify_bulk.report import readable_size
from sparkify_bulk.run import find_server, lock_name
from sparkify_bulk.settings import Schemas, default_jobs, schemas
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.source.input import EXPECTED_FOLDERS
from sparkify_bulk.source.listing import LeftOut, escape
from sparkify_bulk.source.manifest import describe_left_out
from sparkify_bulk.source.store import Store
from sparkify_bulk.source.stores import join, open_store
from sparkify_bulk.tables import LAST_LOAD, NAMES

Status = Literal["ok", "warning", "failure", "not asked"]

# From good to bad: the worst is the diagnosis'.
_GRAVITY: tuple[Status, ...] = ("not asked", "ok", "warning", "failure")
_FAILED, _UNREACHABLE, _STALE = 1, 4, 7

# What a reload takes on the server's disk at its peak, as a multiple of its input's bytes: tables,
# indexes and staging; and the log it writes, by `wal_level`. Rounded up from what was measured on
# PostgreSQL 18 by looking at the data directory every 20 ms, with what benchmarks/generate.py makes
# (in MB):
#                                        songs  logs   tables   log: replica   minimal
#   --events 300000 --songs 30000          8   141      153       134              17
#   --events 1000000 --songs 5000          1   469      413       352              17
#   --events 20000 --songs 100000         27     9       88        67              50
_TABLES: Mapping[Kind, float] = {"songs": 3.0, "events": 1.0}
_LOG: Mapping[Kind, float] = {"songs": 2.5, "events": 0.9}
_MINIMAL_LOG: Mapping[Kind, float] = {"songs": 2.0, "events": 0.15}
# What JSON is compressed to: event logs by gzip, 1 / 11 to 1 / 13.
_COMPRESSED_RATIO = 12
# A checkpoint begins when about half of max_wal_size has been written since the one before.
_LOG_ROOM = 2
_GIB = 2**30
_LARGEST_LOG = 64 * _GIB
# Fewer checkpoints than these say nothing yet.
_MANY_CHECKPOINTS = 10
_MOST_FILES = 100_000
_NAMED = 3
_CLOCK_SECONDS = 2.0
# Nothing that is looked at here is locked for long, unless something is wrong.
_LIMITS = {
    "transaction_read_only": "on",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        status: how it stands.
        found: what is so, in a line.
        hint: what to do about it, in one or more lines; empty if there is nothing to do.
        name: of the check.
        seconds: how long it took.
    """

    status: Status
    found: str
    hint: str = ""
    name: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings about a server, its database, its star, and the input.

    Attributes:
        target: the server and database, without any password.
        findings: one a check, in their order.
        reached: the server was reached, and was there to the end.
    """

    target: str
    findings: tuple[Finding, ...]
    reached: bool

    @property
    def worst(self) -> Status:
        """The worst status of all."""
        return max((finding.status for finding in self.findings), key=_GRAVITY.index)

    @property
    def exit_code(self) -> int:
        """What the command exits with."""
        failed = {finding.name for finding in self.findings if finding.status == "failure"}
        if not failed:
            return 0
        if not self.reached:
            return _UNREACHABLE
        return _STALE if failed == {_name(newest_event)} else _FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return it as what `--json` prints."""
        order = ("name", "status", "found", "hint", "seconds")
        documents = [asdict(finding) for finding in self.findings]
        checks = [{key: document[key] for key in order} for document in documents]
        return {"target": self.target, "worst": self.worst, "checks": checks}


class NotAskedError(Exception):
    """What a check needs isn't there, or isn't to be seen: says what."""


@dataclass(slots=True)
class Subject:
    """What is looked at, and what earlier checks learned of it.

    Attributes:
        dsn: connection string; None for libpq's environment, or the embedded server.
        schemas: the star's.
        songs, logs: the input folders; None where none is named.
        follow_links: as runs would be told to.
        max_age: how old the newest event may be; None for as old as it likes.
        target: what the connection leads to.
        connection: None until there is one.
        sizes: bytes of the input folders, as if nothing in them were compressed.
        partly: there are more files than were looked at.
    """

    dsn: str | None
    schemas: Schemas
    songs: str | None
    logs: str | None
    follow_links: bool
    max_age: timedelta | None
    target: str = ""
    connection: Session | None = None
    sizes: dict[Kind, int] = field(default_factory=dict)
    partly: bool = False

    @property
    def server(self) -> Session:
        """The connection.

        Raises:
            NotAskedError: there is none.
        """
        if self.connection is None:
            raise NotAskedError("the server was not reached")
        if self.connection.closed:
            raise NotAskedError("the connection was lost")
        return self.connection


def diagnose(
    *,
    dsn: str | None,
    schema: str,
    songs: str | None = None,
    logs: str | None = None,
    follow_links: bool = False,
    max_age: timedelta | None = None,
) -> Diagnosis:
    """Look at everything a run needs. Nothing is written, and no lock is taken that others mind.

    Raises:
        UsageError: no star can be named so.
    """
    subject = Subject(dsn, schemas(schema), songs, logs, follow_links, max_age)
    try:
        findings = tuple(_ask(subject, check) for check in CHECKS)
        reached = subject.connection is not None and not subject.connection.closed
        return Diagnosis(redact(subject.target), findings, reached)
    finally:
        if subject.connection is not None:
            subject.connection.close()


def _ask(subject: Subject, check: Callable[[Subject], Finding]) -> Finding:
    """Let one check look, and take what it finds, or why it couldn't."""
    begun = time.monotonic()
    try:
        with _looking(subject.connection):
            finding = check(subject)
    except NotAskedError as error:
        finding = Finding("not asked", str(error))
    except psycopg.errors.InsufficientPrivilege as error:
        finding = Finding("not asked", f"not to be seen: {message_of(error)}")
    except psycopg.Error as error:
        finding = Finding("failure", message_of(error), "see the server's log")
    except SparkifyBulkError as error:
        finding = Finding("failure", error.message, error.hint)
    return replace(
        finding,
        found=redact(finding.found),
        hint=redact(finding.hint),
        name=_name(check),
        seconds=round(time.monotonic() - begun, 3),
    )


@contextlib.contextmanager
def _looking(connection: Connection | None) -> Iterator[None]:
    """Let one check look at the database in a transaction that can't change it."""
    if connection is None or connection.closed:
        yield
        return
    with connection.transaction():
        # Before any function is called: one in `public` with a closer signature would win.
        use_schemas(connection, "pg_catalog")
        set_locally(connection, _LIMITS)
        yield


def _name(check: Callable[[Subject], Finding]) -> str:
    return check.__name__.replace("_", " ")


def _rows(subject: Subject, name: str, **parameters: object) -> list[tuple[Any, ...]]:
    cursor = subject.server.execute(statements.read(f"doctor/{name}"), parameters or None)
    return cursor.fetchall()


def _has_table(subject: Subject, schema: str, table: str) -> bool:
    """Let plain names mean a schema's tables, and tell whether it has one.

    Raises:
        NotAskedError: the role may not look into the schema.
    """
    visible = subject.server.execute(
        "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s", (schema,)
    ).fetchone()
    if visible == (False,):
        raise NotAskedError(f"no right to look into the schema {schema}")
    use_schemas(subject.server, schema)
    row = subject.server.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return row == (True,)


# --- the server -----------------------------------------------------------------------------------


def server(subject: Subject) -> Finding:
    """The server can be reached, and this user may connect to the database."""
    try:
        address, embedded = find_server(subject.dsn)
        subject.target = embedded or name_target(address)
        subject.connection = connect(address, settings=session.COMMAND)
    except DatabaseError as error:
        return Finding("failure", error.message, error.hint)
    subject.target = embedded or describe(subject.connection)
    return Finding("ok", f"reached as {describe(subject.connection)}")


def version(subject: Subject) -> Finding:
    """The server's version of PostgreSQL is supported."""
    number = subject.server.info.server_version
    found = f"PostgreSQL {number // 10_000}.{number % 10_000}"
    if number // 10_000 < OLDEST_SERVER:
        return Finding("failure", f"{found} is too old", f"use PostgreSQL {OLDEST_SERVER} or later")
    return Finding("ok", found)


def encoding(subject: Subject) -> Finding:
    """The database is encoded in UTF-8."""
    (found,) = _row(subject, "SELECT current_setting('server_encoding')")
    if found != "UTF8":
        hint = "make another: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;"
        return Finding("failure", f"{found}, not UTF8", hint)
    return Finding("ok", found)


def writes(subject: Subject) -> Finding:
    """The server accepts writes: it isn't a standby or read-only by default."""
    (standby,) = _row(subject, "SELECT pg_is_in_recovery()")
    if standby:
        return Finding("failure", "the server is a standby", "name the primary by --dsn")
    if default_is_read_only(subject.server):
        hint = (
            "a run writes all the same; some services set default_transaction_read_only where a "
            "disk is full, so make sure that there is room"
        )
        return Finding("warning", "transactions are read-only by default", hint)
    return Finding("ok", "the server is a primary")


def session_settings(subject: Subject) -> Finding:
    """Settings of role, database or connection string that a run overrides, or can't override."""
    server = subject.server
    if server.refused:
        found = ", ".join(f"{name} = {value}" for name, value in server.refused.items())
        hint = "\n".join(["an administrator ends that by this:", *reset_statements(server)])
        return Finding("failure", f"{server.info.user} can't set otherwise: {found}", hint)
    overridden = _rows(subject, "overridden", names=list(session.RUN))
    if not overridden:
        return Finding("ok", "none that a run minds")
    return Finding("ok", f"overridden by runs: {_some([f'{n} = {v}' for n, v in overridden])}")


def rights(subject: Subject) -> Finding:
    """The role has all rights that a run needs; else the statements that grant those missing."""
    names = subject.schemas
    lacking = _rows(
        subject,
        "rights",
        star=names.star,
        schemas=[names.star, names.build, names.staging, names.ledger],
        tables=[*NAMES, LAST_LOAD.name],
        mark=names.mark(""),
    )
    user = subject.server.info.user
    if not lacking:
        return Finding("ok", f"{user} has all that a run needs")
    given = "\n".join(statement for _, statement in lacking)
    lacks = _some([lack for lack, _ in lacking])
    hint = f"an administrator gives it by this, in this database:\n{given}"
    return Finding("failure", f"{user} lacks {lacks}", hint)


def tls(subject: Subject) -> Finding:
    """Nobody can intercept the connection or impersonate the server."""
    connection = subject.server
    if weakness := weak_tls(connection):
        return Finding("warning", weakness, "use sslmode=verify-full, and name sslrootcert")
    if not leads_here(connection):
        return Finding("ok", "encrypted, and who answers is verified")
    return Finding("ok", "not needed: the connection stays on this machine")


def connections(subject: Subject) -> Finding:
    """A run can get as many connections as it needs; whether it connects through a pooler."""
    needed = connections_of_run(default_jobs())
    takes = f"a run takes {needed}"
    if is_pooled(subject.server):
        return Finding("ok", f"a pooler is in between: {takes} of its server connections at a time")
    ((free,),) = _rows(subject, "connections")
    if free < needed:
        hint = "end others, lower --jobs, or raise max_connections or the limit of role or database"
        return Finding("warning", f"{max(free, 0)} are free, {takes}", hint)
    return Finding("ok", f"no pooler; {takes}, {free} are free")


def clock(subject: Subject) -> Finding:
    """The clocks of client and server agree within two seconds."""
    before = time.time()
    (there,) = _row(subject, "SELECT extract(EPOCH FROM clock_timestamp())::double precision")
    after = time.time()
    ahead = there - (before + after) / 2
    if abs(ahead) > _CLOCK_SECONDS + (after - before) / 2:
        word = "ahead of" if ahead > 0 else "behind"
        hint = "set both by NTP: ages and the times of runs are off by as much"
        return Finding("warning", f"the server's is {abs(ahead):.1f} s {word} this machine's", hint)
    return Finding("ok", f"they agree within {_CLOCK_SECONDS:.0f} s")


def time_zone(subject: Subject) -> Finding:
    """The time zones of client and server; runs always write UTC."""
    _, _, there = _rows(subject, "settings")[0]
    here = datetime.now(UTC).astimezone()
    return Finding("ok", f"server {there}, here {here:%Z}; runs write UTC")


# --- the star -------------------------------------------------------------------------------------


def star(subject: Subject) -> Finding:
    """The schema holds a star of this version, or none yet."""
    name = subject.schemas.star
    if state.star_exists(subject.server, name):
        return Finding("ok", f"the schema {name} holds one")
    return Finding("ok", f"the schema {name} holds none yet")


def record(subject: Subject) -> Finding:
    """The star was last changed by the ledger's last run, and has as many rows as then."""
    names = subject.schemas
    try:
        if not state.star_exists(subject.server, names.star):
            return Finding("ok", "no star yet")
    except SparkifyBulkError as error:
        raise NotAskedError("there is no star that runs can work with") from error
    last = state.require_same_run(subject.server, names)
    use_schemas(subject.server, "pg_catalog")
    rows = state.count_rows(subject.server, names.star, last)
    if changed := state.changed_by_hand(rows, last):
        hint = "sparkify-bulk verify DATA names the rows; reload DATA makes the star anew"
        return Finding("warning", f"changed by hand after run {last.run_id}: {changed}", hint)
    return Finding("ok", f"star and ledger agree: run {last.run_id}, {rows['songplays']:,} plays")


def neighbours(subject: Subject) -> Finding:
    """The ledger, staging and build schemas hold only what runs made; else a run would fail."""
    marks.refuse_foreign(subject.server, subject.schemas)
    return Finding("ok", "the schemas beside the star hold nothing of others")


def dependents(subject: Subject) -> Finding:
    """All that depends on the star can be carried over to the new tables of a reload."""
    stuck = switch.refusals(subject.server, (switch.Swap(subject.schemas.star, ""),))
    if stuck:
        hint = "reload refuses; load doesn't mind. reload --drop-dependents drops them"
        return Finding("warning", f"can't follow a reload: {_some(stuck)}", hint)
    return Finding("ok", "nothing that can't follow a reload")


def lock(subject: Subject) -> Finding:
    """Whether a run holds the star's lock now, and which."""
    if not _is_held(subject):
        return Finding("ok", "no run holds the star")
    who = ledger.holder(subject.server, subject.schemas.ledger)
    hint = "begin the next when it has ended, or let it wait by --wait SECONDS"
    return Finding("warning", f"held by {who}", hint)


def _is_held(subject: Subject) -> bool:
    use_schemas(subject.server, "pg_catalog")
    return bool(_rows(subject, "holder", lock=lock_name(subject.schemas.star)))


def leftovers(subject: Subject) -> Finding:
    """What killed runs left behind: runs recorded as running, staging and build tables."""
    left = _left(subject)
    if not left or _is_held(subject):
        return Finding("ok", "none")
    # One that began or ended in between has left nothing.
    still = _left(subject)
    found = [what for key, what in left.items() if key in still]
    if not found:
        return Finding("ok", "none")
    hint = "nothing needs to be done: the next run removes the tables, and puts the end on record"
    return Finding("warning", _some(found), hint)


def _left(subject: Subject) -> dict[Any, str]:
    """Return runs on record as running and tables of runs, each with its name for people."""
    names = subject.schemas
    use_schemas(subject.server, "pg_catalog")
    tables = marks.leftovers(subject.server, names)
    left: dict[Any, str] = {}
    if _has_table(subject, names.ledger, "runs"):
        left.update({run_id: f"run {run_id}" for (run_id,) in _rows(subject, "running")})
    for schema, table, size in tables:
        left[schema, table] = f"{schema}.{table} ({readable_size(size)})"
    return left


def last_run(subject: Subject) -> Finding:
    """How the last run ended, and when."""
    name = subject.schemas.ledger
    if not _has_table(subject, name, "runs"):
        return Finding("ok", "no run yet")
    ended = [run for run in ledger.list_runs(subject.server, name, 20) if run["ended_at"]]
    if not ended:
        return Finding("ok", "none has ended yet")
    run = ended[0]
    ago = _span((datetime.now(UTC) - run["ended_at"]).total_seconds())
    found = f"run {run['run_id']} ({run['command']}) {run['status'].replace('_', ' ')} {ago} ago"
    if run["status"] == "succeeded":
        return Finding("ok", found)
    if run["status"] == "failed":
        return Finding("warning", f"{found}: {run['error']}", "see sparkify-bulk runs")
    return Finding("warning", found, f"see sparkify-bulk rejects --run {run['run_id']}")


def newest_event(subject: Subject) -> Finding:
    """How old the newest event in the star is; a failure if it is older than --max-age."""
    limit = subject.max_age
    hint = "see whether logs still arrive, and how loads ended: sparkify-bulk runs"
    too_old = Finding("failure", "the star holds no event", hint)
    there = _has_table(subject, subject.schemas.star, "songplays")
    newest = merge.newest_event(subject.server) if there else None
    if newest is None:
        return Finding("ok", too_old.found) if limit is None else too_old
    age = datetime.now(UTC) - newest
    found = f"{newest:%Y-%m-%d %H:%M} UTC, {_span(age.total_seconds())} ago"
    if limit is not None and age > limit:
        return replace(too_old, found=f"{found}: over {_span(limit.total_seconds())}")
    return Finding("ok", found)


# --- input ----------------------------------------------------------------------------------------


def songs(subject: Subject) -> Finding:
    """The folder of song files and everything in it can be read."""
    return _look_at_tree(subject, "songs", subject.songs, "--songs")


def logs(subject: Subject) -> Finding:
    """The folder of event logs and everything in it can be read."""
    return _look_at_tree(subject, "events", subject.logs, "--logs")


@dataclass(slots=True)
class _Contents:
    """What a folder holds: files and their bytes, and what of it can't be read."""

    files: int = 0
    size: int = 0
    unpacked: int = 0
    unreadable: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def _look_at_tree(subject: Subject, kind: Kind, address: str | None, option: str) -> Finding:
    if address is None:
        raise NotAskedError(f"name DATA or {option}")
    store = open_store(address, follow_links=subject.follow_links)
    if missing := store.missing():
        return Finding("failure", escape(missing), EXPECTED_FOLDERS)
    contents = _contents(store)
    subject.sizes[kind] = contents.unpacked
    more = contents.files >= _MOST_FILES
    subject.partly = subject.partly or more
    if contents.unreadable:
        hint = "give the account that loads the right to read them"
        return Finding("failure", f"can't be read: {_some(contents.unreadable)}", hint)
    left_out = describe_left_out([(store.address, contents.left_out)])
    left_out = f"left out: {left_out}" if left_out else ""
    if not contents.files:
        hint = "files end in .json, .jsonl or .ndjson, also with .gz or .zst behind"
        found = f"no files in {escape(store.address)}"
        return Finding("warning", f"{found}; {left_out}" if left_out else found, hint)
    count = f"{contents.files:,} {'file' if contents.files == 1 else 'files'}"
    count = f"the first {count}" if more else count
    found = f"{count}, {readable_size(contents.size)}"
    if left_out:
        hint = "see that nothing of it was meant to be loaded"
        return Finding("warning", f"{found}; {left_out}", hint)
    return Finding("ok", found)


def _contents(store: Store) -> _Contents:
    """Look at the input files of a tree, at so many at most: a million would take a minute."""
    found = _Contents()
    entries = chain.from_iterable(store.list_files(found.left_out))
    try:
        for entry in islice(entries, _MOST_FILES):
            found.files += 1
            found.size += entry.size
            is_packed = entry.path.lower().endswith((".gz", ".zst"))
            found.unpacked += entry.size * (_COMPRESSED_RATIO if is_packed else 1)
            if not store.may_read(entry.path):
                found.unreadable.append(escape(join(store.address, entry.path)))
    except OSError as error:
        found.unreadable.append(escape(str(error.filename)).rstrip(os.sep))
    return found


# --- room -----------------------------------------------------------------------------------------


def disk(subject: Subject) -> Finding:
    """The server's disk has room for a reload of the input in addition to the existing star."""
    connection = subject.server
    wal_level, _, _ = _rows(subject, "settings")[0]
    needed = int(_scaled(subject, _TABLES) + _log_size(subject, wal_level))
    about = "at least" if subject.partly else "about"
    size = readable_size(needed)
    needs = f"a reload needs {about} {size}" if needed else "no input to compare with"
    folder = _data_folder(subject)
    if folder is None:
        where = "no right to know where" if is_here(connection) else "the server is elsewhere"
        raise NotAskedError(f"free room can't be known: {where}; {needs}")
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    found = f"{readable_size(free)} free, {needs} ({folder})"
    hint = "make room on the server's disk, or load what is new only: sparkify-bulk load"
    if free >= 2 * needed:
        return Finding("ok", found)
    return Finding("failure" if free < needed else "warning", found, hint)


def _scaled(subject: Subject, ratios: Mapping[Kind, float]) -> float:
    return sum(size * ratios[kind] for kind, size in subject.sizes.items())


def _log_size(subject: Subject, wal_level: str) -> float:
    """Return about how much a reload makes the server log, in bytes."""
    return _scaled(subject, _MINIMAL_LOG if wal_level == "minimal" else _LOG)


def _data_folder(subject: Subject) -> str | None:
    """Return where the server keeps the database, if that is on this machine and to be seen."""
    if not is_here(subject.server):
        return None
    tablespace, data = _rows(subject, "location")[0]
    folder = tablespace or data
    if not folder:
        # A server process works in its data directory, which its own account and root may know.
        with contextlib.suppress(OSError):
            folder = os.readlink(f"/proc/{subject.server.info.backend_pid}/cwd")
    return folder if folder and os.path.exists(folder) else None


_MOVED = 170_000
_CHECKPOINTS = "SELECT num_timed, num_requested FROM pg_stat_checkpointer"
_CHECKPOINTS_BEFORE = "SELECT checkpoints_timed, checkpoints_req FROM pg_stat_bgwriter"


def checkpoints(subject: Subject) -> Finding:
    """Checkpoints are timed, not requested: max_wal_size is large enough for a run's log."""
    has_moved = subject.server.info.server_version >= _MOVED
    timed, requested = _row(subject, _CHECKPOINTS if has_moved else _CHECKPOINTS_BEFORE)
    wal_level, room, _ = _rows(subject, "settings")[0]
    wanted = min(_LOG_ROOM * _log_size(subject, wal_level), _LARGEST_LOG)
    found = f"{timed} timed, {requested} requested; max_wal_size is {_gib(room)}"
    if requested > timed and requested >= _MANY_CHECKPOINTS and wanted > room:
        hint = (
            "a checkpoint in mid-run writes pages twice; where the disk has the room:\n"
            f"ALTER SYSTEM SET max_wal_size = '{_gib(_whole_gib(wanted))}';\n"
            "SELECT pg_reload_conf();"
        )
        return Finding("warning", found, hint)
    return Finding("ok", found)


def _whole_gib(size: float) -> int:
    return -int(-size // _GIB) * _GIB


def _gib(size: int) -> str:
    """Write a size as PostgreSQL's settings are written."""
    return f"{size // _GIB}GB" if size % _GIB == 0 else f"{size // 2**20}MB"


def wal_level(subject: Subject) -> Finding:
    """How much the server logs: with `minimal`, a reload's new tables aren't logged."""
    level, _, _ = _rows(subject, "settings")[0]
    if level == "minimal":
        return Finding("ok", "minimal: a reload's new tables aren't logged")
    return Finding("ok", f"{level}; minimal would log less, if no standby follows")


def _row(subject: Subject, query: Any) -> tuple[Any, ...]:  # noqa: ANN401 - LiteralString or SQL
    return subject.server.execute(query).fetchone() or ()


def _some(names: Sequence[str]) -> str:
    """Name the first few, and count the others."""
    others = len(names) - _NAMED
    named = ", ".join(names[:_NAMED])
    return named if others <= 0 else f"{named} and {others:,} more"


def _span(seconds: float) -> str:
    """Write a span of time in the unit that suits it."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


# In this order; the input is looked at before the room that it takes.
CHECKS: tuple[Callable[[Subject], Finding], ...] = (
    server,
    version,
    encoding,
    writes,
    session_settings,
    rights,
    tls,
    connections,
    clock,
    time_zone,
    star,
    record,
    neighbours,
    dependents,
    lock,
    leftovers,
    last_run,
    newest_event,
    songs,
    logs,
    disk,
    checkpoints,
    wal_level,
)
