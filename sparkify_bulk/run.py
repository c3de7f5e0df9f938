"""One run: opened under the star's lock and put on record, timed by phases, and closed."""

import contextlib
import logging
import resource
import sys
import time
from collections import Counter
from collections.abc import (
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import psycopg

from sparkify_bulk import ledger
from sparkify_bulk.database import rights, session
from sparkify_bulk.database.connection import (
    Connection,
    backend_seconds,
    check_server,
    check_settings,
    connect,
    describe,
    is_passing,
    libpq_is_configured,
    message_of,
    parse_conninfo,
    tell_of_pooler,
    warn_of_weak_tls,
)
from sparkify_bulk.database.session import Session
from sparkify_bulk.database.transaction import lock_timeout, use_schemas
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError, StarBusyError, exit_code_of
from sparkify_bulk.errors import describe as describe_error
from sparkify_bulk.loading import marks
from sparkify_bulk.loading.batches import Target, see_staging, unsee_staging
from sparkify_bulk.loading.workers import Step
from sparkify_bulk.report import InputReport, Phase, Report
from sparkify_bulk.settings import Schemas, Settings, schemas
from sparkify_bulk.source.batches import KINDS, Kind

logger = logging.getLogger("sparkify_bulk")

# What to do about some of the errors that end a run, by SQLSTATE.
_HINTS = {
    "53100": "make room on the server's disk, then run again",
    "53200": "the server is out of memory: lower --jobs, then run again",
    "57014": "a limit of the role's (statement_timeout), or somebody (pg_cancel_backend), ended it",
    "55P03": "end what holds the lock, then run again",
}
# How long to wait for the end of a transaction whose connection was lost: its server process may be
# at work still, or learn of the loss late.
_SETTLE_SECONDS = 60.0
_SETTLE_PAUSE_SECONDS = 0.5


class Watch(Protocol):
    """A progress listener: told what begins, how far it is, and what has ended."""

    def begin(self, phase: str) -> None:
        """Tell that a phase begins."""

    def note(self, text: str) -> None:
        """Tell what takes long within the phase."""

    def expect(self, *, files: int, bytes_: int) -> None:
        """Tell how much there is to read in a phase, once that is known."""

    def advance(self, *, files: int, bytes_: int, records: int) -> None:
        """Tell that the phase got this much further."""

    def end(self, phase: Phase) -> None:
        """Tell that the phase has ended."""


class Unwatched:
    """A no-op progress listener."""

    def begin(self, phase: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def expect(self, *, files: int, bytes_: int) -> None:
        """Do nothing."""

    def advance(self, *, files: int, bytes_: int, records: int) -> None:
        """Do nothing."""

    def end(self, phase: Phase) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Run:
    """One execution under way.

    `control` works in autocommit; `publisher` holds the lock in a transaction that is open from
    begin to end, and publishes in that same transaction: who loses the lock can't publish.
    `dropped` names what a reload may drop with the old star.
    `grows` tells that the run adds to the files a star is made of, rather than making a new star;
    `last` is the run that left that star.
    """

    settings: Settings
    schemas: Schemas
    watch: Watch
    report: Report
    dsn: str
    control: Connection
    publisher: Session
    begun: float
    run_id: int = 0
    roots: dict[Kind, int] = field(default_factory=dict)
    target: Target | None = None
    grows: bool = False
    last: ledger.Published | None = None
    published: bool = False
    dropped: tuple[str, ...] = ()
    sent: Counter[str] = field(default_factory=Counter)
    backends: list[Connection] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """The comment of the tables it makes beside the star."""
        return self.schemas.mark(f"run {self.run_id}")


# --- opening and closing a run --------------------------------------------------------------------


@contextlib.contextmanager
def open_run(command: str, settings: Settings, watch: Watch) -> Iterator[Run]:
    """Connect, take the lock, put the run on record; and put on record how it ended."""
    report = Report(command, datetime.now(UTC))
    begun = time.monotonic()
    names = schemas(settings.schema)
    try:
        watch.begin("connect")
        dsn, target = find_server(settings.dsn, watch.note)
        with (
            _refusals(dsn, partial(rights.lacking_to_run, names=names)),
            connect(dsn, create_database=settings.create_database) as control,
            connect(dsn) as publisher,
        ):
            report.target = target or describe(control)
            run = Run(settings, names, watch, report, dsn, control, publisher, begun)
            check_server(control)
            check_settings(control)
            warn_of_weak_tls(control)
            tell_of_pooler(control, settings.jobs)
            # It stays open to the end, and holds nothing but the lock until then.
            publisher.begin()
            # Before any function is called: one in `public` with a closer signature would win.
            use_schemas(publisher, names.star)
            _take_lock(run)
            ledger.refuse_other_version(run.control, run.schemas)
            marks.refuse_foreign(run.control, run.schemas)
            clear(run)
            _put_on_record(run)
            run.backends += [control, publisher]
            _end_phase(run, Phase("connect", round(time.monotonic() - begun, 3)))
            try:
                yield run
            except BaseException as error:
                if not run.published:
                    _abandon(run, error)
                raise
            _tidy(run)
    except SparkifyBulkError as error:
        report.error = error.message
        error.report = report
        raise
    finally:
        stop_watch(report, begun)


@contextlib.contextmanager
def open_connection(
    dsn: str | None,
    *schemas: str,
    privileges: Sequence[str] = ("SELECT",),
    settings: Mapping[str, str] = session.COMMAND,
) -> Iterator[Connection]:
    """Open a connection for a command that is no run, with the same server and the same errors.

    Args:
        dsn: libpq connection string or URL; None for what a run would use.
        schemas: what the command looks into.
        privileges: what it does with their tables.
        settings: what the session is set to.
    """
    address, _ = find_server(dsn)
    lacking = partial(rights.lacking_to_look, schemas=schemas, privileges=privileges)
    with (
        _refusals(address, lacking),
        connect(address, settings=settings) as connection,
    ):
        warn_of_weak_tls(connection)
        rights.require_usage(connection, schemas, lacking)
        yield connection


def libpq_environment(dsn: str) -> dict[str, str]:
    """Return libpq's environment variables for a connection string.

    For programs started with it: the process list would show an argument to everybody.
    """
    return {
        option.envvar.decode(): option.val.decode()
        for option in parse_conninfo(dsn)
        if option.envvar and option.val
    }


def find_server(dsn: str | None, tell: Callable[[str], None] = logger.info) -> tuple[str, str]:
    """Return the connection string of the server to use; and its name, if it is the embedded.

    Args:
        dsn: libpq connection string or URL; None for libpq's environment, or the embedded server.
        tell: called with what is done, where that takes long.
    """
    if dsn:
        return dsn, ""
    if libpq_is_configured():
        return "", ""
    from sparkify_bulk.database import embedded  # noqa: PLC0415 - only where it is needed

    server = embedded.ensure_running(tell=tell)
    logger.warning(
        "No database named: using the EMBEDDED PostgreSQL %s, data in %s (choose with --dsn)",
        server.version,
        server.data,
    )
    return server.dsn, f"embedded PostgreSQL {server.version} in {server.home}"


@contextlib.contextmanager
def _refusals(dsn: str, lacking: rights.Lacking) -> Iterator[None]:
    """Turn what the server refuses into errors that say what to do."""
    try:
        yield
    # The second is what a schema of the star's looks like to a role that may not use it.
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName) as error:
        raise DatabaseError(
            f"not enough rights: {error.diag.message_primary}",
            hint=rights.find_hint(dsn, lacking),
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseError(
            f"the database ended the run: {message_of(error)}",
            hint=_HINTS.get(error.sqlstate or "", "see the server's log, then run again")
            + "; the star is untouched",
            passing=is_passing(error),
        ) from error
    except psycopg.Error as error:
        raise SparkifyBulkError(
            "the database refused a statement: "
            f"{error.diag.message_primary or type(error).__name__} (SQLSTATE {error.sqlstate})",
            hint="the star is untouched",
        ) from error


def _take_lock(run: Run) -> None:
    """Take the star's lock for as long as the publisher's transaction is open.

    Raises:
        StarBusyError: another run holds it, and didn't end in time.
    """
    key = _lock_key(run)
    row = run.publisher.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", key
    ).fetchone()
    if row and row[0]:
        return
    who = ledger.holder(run.control, run.schemas.ledger)
    wait = run.settings.wait
    if wait:
        logger.warning("The star is held by %s; waiting up to %g s", who, wait)
        if _wait_for_lock(run.publisher, key, wait):
            return
        who = f"{ledger.holder(run.control, run.schemas.ledger)}, still after {wait:g} s"
    raise StarBusyError(
        f"the star in {run.schemas.star} is held by {who}",
        hint="run again when it has ended, or wait for that with --wait SECONDS",
    )


def _lock_key(run: Run) -> tuple[str]:
    return (lock_name(run.schemas.star),)


def lock_name(star: str) -> str:
    """Name a star's lock: its hash is the advisory lock's key, within one database."""
    return f"sparkify_bulk {star}"


def _wait_for_lock(connection: Connection, key: tuple[str], seconds: float) -> bool:
    """Let the server wait for the lock, so that the next in the queue gets it at once."""
    try:
        with lock_timeout(connection, seconds):
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", key)
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def _put_on_record(run: Run) -> None:
    marks.make_schema(run.control, run.schemas, run.schemas.ledger)
    ledger.make_ledger(run.control, run.schemas)
    folders = (run.settings.songs, run.settings.logs)
    source = ", ".join(str(folder) for folder in folders if folder)
    source = source.encode(errors="backslashreplace").decode()
    run.run_id = ledger.record_run(
        run.control, run.schemas.ledger, run.report.command, run.report.started_at, source
    )
    run.report.run_id = run.run_id
    named = zip(KINDS, folders, strict=True)
    roots = {kind: str(folder) for kind, folder in named if folder}
    run.roots = ledger.record_roots(run.control, run.schemas.ledger, roots)


def _abandon(run: Run, error: BaseException) -> None:
    """Put on record that a run failed, keep its rejects, and remove what it staged."""
    # It may have been about to succeed.
    run.report.status, run.report.newest_event, run.report.stale = "failed", None, False
    run.report.error = describe_error(error)
    exit_code = exit_code_of(error)
    stop_watch(run.report, run.begun)
    # The connection may be what failed; the next run finds what this one couldn't say.
    with contextlib.suppress(psycopg.Error):
        run.publisher.rollback()
    with contextlib.suppress(psycopg.Error):
        with run.control.transaction():
            use_schemas(run.control, run.schemas.ledger)
            if run.target and run.report.rejects.count:
                see_staging(run.control, run.target)
                ledger.keep_rejects(run.control, run.run_id)
                unsee_staging(run.control)
            ledger.complete_run(run.control, run.run_id, run.report, exit_code=exit_code)
        clear(run)


def commit(run: Run) -> None:
    """Commit what the publisher's transaction holds; if the answer is lost, find out what became.

    Raises:
        psycopg.Error: it wasn't committed.
        DatabaseError: nobody can tell; the ledger will, when the server is back.
    """
    try:
        run.publisher.commit()
    except psycopg.OperationalError as error:
        if not is_passing(error) or not _was_published(run):
            raise
        logger.warning("The connection was lost at the end, but the ledger says: all committed")
    run.published = True


def _was_published(run: Run) -> bool:
    """Ask the ledger whether a run was published, once its lock tells that its transaction ended.

    Raises:
        DatabaseError: the server can't be asked.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            with connect(run.dsn) as connection:
                connection.begin()
                use_schemas(connection, run.schemas.ledger)
                if not _wait_for_lock(connection, _lock_key(run), _SETTLE_SECONDS):
                    break
                return ledger.was_published(connection, run.run_id)
        except (DatabaseError, psycopg.OperationalError):
            if time.monotonic() > deadline:
                break
            time.sleep(_SETTLE_PAUSE_SECONDS)
    raise DatabaseError(
        "the connection was lost while the run was committed, and the server can't be asked",
        hint=f"when it is back, sparkify-bulk runs tells what became of run {run.run_id}; "
        "to run again is safe in any case",
        passing=True,
    )


def _tidy(run: Run) -> None:
    """Remove what the run staged; what it published stands, whatever becomes of that."""
    try:
        clear(run)
    except (psycopg.Error, SparkifyBulkError):
        logger.warning("What the run staged could not be removed; the next run will")


def clear(run: Run) -> None:
    """Remove what this run, or a dead one, staged or built: only the lock's holder may."""
    marks.drop_tables(run.control, run.schemas)


def stop_watch(report: Report, begun: float) -> None:
    """Enter how long a run took so far, and the most memory it used."""
    report.seconds = round(time.monotonic() - begun, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    report.peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# --- phases -------------------------------------------------------------------------------------


@contextlib.contextmanager
def phase(run: Run, name: str, books: InputReport | None = None) -> Iterator[list[Phase]]:
    """Time one step of a run, and tell who watches.

    Args:
        run: the run.
        name: the step.
        books: of what it reads.

    Yields:
        A list to fill with the steps that it consists of.
    """
    run.watch.begin(name)
    begun, client, server = time.monotonic(), time.process_time(), backend_seconds(run.backends)
    steps: list[Phase] = []
    yield steps
    ended, spent = time.monotonic(), backend_seconds(run.backends)
    phase = Phase(
        name,
        seconds=round(ended - begun, 3),
        began=round(begun - run.begun, 3),
        client_cpu_seconds=round(time.process_time() - client, 3),
        server_cpu_seconds=_rounded_difference(server, spent),
        records=books.records if books else 0,
        bytes=books.bytes if books else 0,
        steps=tuple(steps),
    )
    _end_phase(run, phase)


def step_phase(run: Run, step: Step) -> Phase:
    """Return what a step of a lane took, as the report has it."""
    return Phase(
        step.name,
        seconds=round(step.seconds, 3),
        began=round(step.began - run.begun, 3),
        client_cpu_seconds=round(step.client_cpu_seconds, 3),
        server_cpu_seconds=_rounded_difference(0.0, step.server_cpu_seconds),
    )


def _rounded_difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(after - before, 3)


def _end_phase(run: Run, phase: Phase) -> None:
    run.report.phases.append(phase)
    run.watch.end(phase)


def books_of(report: Report, kind: Kind) -> InputReport:
    """Return the books of one kind of input."""
    return report.input.songs if kind == "songs" else report.input.events
