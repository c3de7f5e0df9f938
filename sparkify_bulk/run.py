"""One run: opened under the star's lock and put on record, committed, and closed."""

import contextlib
import logging
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import psycopg

from sparkify_bulk import ledger
from sparkify_bulk.database import rights
from sparkify_bulk.database.connection import (
    Connection,
    check_server,
    check_settings,
    connect,
    describe,
    is_transient,
    tell_of_pooler,
    warn_of_weak_tls,
)
from sparkify_bulk.database.server import find_server, refusals
from sparkify_bulk.database.transaction import lock_timeout, use_schemas
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError, StarBusyError, exit_code_of
from sparkify_bulk.errors import describe as describe_error
from sparkify_bulk.loading import marks
from sparkify_bulk.loading.context import Phases, Run, Watch
from sparkify_bulk.loading.staging import find_staging, see_staging, unsee_staging
from sparkify_bulk.report import Report
from sparkify_bulk.settings import Schemas, Settings, schemas
from sparkify_bulk.source.batches import KINDS, Kind

logger = logging.getLogger("sparkify_bulk")

# How long to wait for the end of a transaction whose connection was lost: its server process may be
# at work still, or learn of the loss late.
_SETTLE_SECONDS = 60.0
_SETTLE_PAUSE_SECONDS = 0.5


@contextlib.contextmanager
def open_run(command: str, settings: Settings, watch: Watch) -> Iterator[Run]:
    """Connect, take the lock, put the run on record; and put on record how it ended."""
    report = Report(command, datetime.now(UTC))
    phases = Phases(watch, report.phases)
    names = schemas(settings.schema)
    try:
        watch.begin("connect")
        dsn, target = find_server(settings.dsn, watch.note)
        with (
            refusals(
                dsn,
                partial(rights.lacking_to_run, names=names),
                what="run",
                kept="the star is untouched",
            ),
            connect(dsn, create_database=settings.create_database) as control,
            connect(dsn) as publisher,
            phases.counting(control, publisher),
        ):
            report.target = target or describe(control)
            check_server(control)
            check_settings(control)
            warn_of_weak_tls(control)
            tell_of_pooler(control, settings.jobs)
            # It stays open to the end, and holds nothing but the lock until then.
            publisher.begin()
            # Before any function is called: one in `public` with a closer signature would win.
            use_schemas(publisher, names.star)
            _take_lock(publisher, control, names, settings.wait)
            ledger.refuse_other_version(control, names)
            marks.refuse_foreign(control, names)
            clear(control, names)
            roots = _put_on_record(control, names, settings, report)
            run_id = report.run_id or 0
            run = Run(settings, names, run_id, roots, dsn, control, publisher, phases, report)
            phases.add("connect")
            try:
                yield run
            except BaseException as error:
                if not report.published:
                    _abandon(run, error)
                raise
            _tidy(run)
    except SparkifyBulkError as error:
        report.error = error.message
        error.report = report
        raise
    finally:
        stop_watch(report, phases.begun)


def _take_lock(publisher: Connection, control: Connection, names: Schemas, seconds: float) -> None:
    """Take the star's lock for as long as the publisher's transaction is open.

    Args:
        publisher: who takes it.
        control: where the ledger is asked.
        names: the star's schemas.
        seconds: how long to wait for it.

    Raises:
        StarBusyError: another run holds it, and didn't end in time.
    """
    key = _lock_key(names)
    row = publisher.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", key
    ).fetchone()
    if row and row[0]:
        return
    who = ledger.holder(control, names.ledger)
    if seconds:
        logger.warning("The star is held by %s; waiting up to %g s", who, seconds)
        if _wait_for_lock(publisher, key, seconds):
            return
        who = f"{ledger.holder(control, names.ledger)}, still after {seconds:g} s"
    raise StarBusyError(
        f"the star in {names.star} is held by {who}",
        hint="run again when it has ended, or use --wait SECONDS",
    )


def _lock_key(names: Schemas) -> tuple[str]:
    return (lock_name(names.star),)


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


def _put_on_record(
    control: Connection, names: Schemas, settings: Settings, report: Report
) -> dict[Kind, int]:
    """Put a run and its input folders on record, and its number in its report.

    Returns:
        The numbers of its folders.
    """
    marks.make_schema(control, names, names.ledger)
    ledger.make_ledger(control, names)
    folders = (settings.songs, settings.logs)
    source = ", ".join(str(folder) for folder in folders if folder)
    source = source.encode(errors="backslashreplace").decode()
    report.run_id = ledger.record_run(
        control, names.ledger, report.command, report.started_at, source
    )
    named = zip(KINDS, folders, strict=True)
    roots = {kind: str(folder) for kind, folder in named if folder}
    return ledger.record_roots(control, names.ledger, roots)


def _abandon(run: Run, error: BaseException) -> None:
    """Put on record that a run failed, keep its rejects, and remove what it staged."""
    # It may have been about to succeed.
    run.report.status, run.report.newest_event, run.report.stale = "failed", None, False
    run.report.error = describe_error(error)
    exit_code = exit_code_of(error)
    stop_watch(run.report, run.phases.begun)
    # The connection may be what failed; the next run finds what this one couldn't say.
    with contextlib.suppress(psycopg.Error):
        run.publisher.rollback()
    with contextlib.suppress(psycopg.Error):
        with run.control.transaction():
            use_schemas(run.control, run.schemas.ledger)
            target = find_staging(run.control, run.schemas.staging, run.run_id)
            if target and run.report.rejects.count:
                see_staging(run.control, target)
                ledger.keep_rejects(run.control, run.run_id)
                unsee_staging(run.control)
            ledger.complete_run(run.control, run.run_id, run.report, exit_code=exit_code)
        clear(run.control, run.schemas)


def commit(run: Run) -> None:
    """Commit what the publisher's transaction holds; if the answer is lost, find out what became.

    Raises:
        psycopg.Error: it wasn't committed.
        DatabaseError: nobody can tell; the ledger will, when the server is back.
    """
    try:
        run.publisher.commit()
    except psycopg.OperationalError as error:
        if not is_transient(error) or not _was_published(run):
            raise
        logger.warning(
            "The connection was lost during COMMIT; the ledger shows that the run was committed"
        )
    run.report.published = True


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
                if not _wait_for_lock(connection, _lock_key(run.schemas), _SETTLE_SECONDS):
                    break
                return ledger.was_published(connection, run.run_id)
        except (DatabaseError, psycopg.OperationalError):
            if time.monotonic() > deadline:
                break
            time.sleep(_SETTLE_PAUSE_SECONDS)
    raise DatabaseError(
        "the connection was lost during COMMIT, and the server can't be reached to check the "
        "result",
        hint=f"when the server is back, sparkify-bulk runs shows how run {run.run_id} ended; "
        "to run again is safe in any case",
        transient=True,
    )


def _tidy(run: Run) -> None:
    """Remove what the run staged; what it published stands, whatever becomes of that."""
    try:
        clear(run.control, run.schemas)
    except (psycopg.Error, SparkifyBulkError):
        logger.warning("Staging tables could not be removed; the next run removes them")


def clear(control: Connection, names: Schemas) -> None:
    """Remove what this run, or a dead one, staged or built: only the lock's holder may."""
    marks.drop_tables(control, names)


def stop_watch(report: Report, begun: float) -> None:
    """Enter how long a run took so far, and the most memory it used."""
    report.seconds = round(time.monotonic() - begun, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    report.peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
