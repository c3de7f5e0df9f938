"""Put a new star in the place of the old one, with all that hangs on it."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from sparkify_bulk import statements
from sparkify_bulk.connection import Connection, connect
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError
from sparkify_bulk.merge import lock_timeout, set_locally
from sparkify_bulk.stage import use_schemas
from sparkify_bulk.tables import NAMES

# For so long the switch looks for a gap between readers before it makes them wait.
_GENTLE_SECONDS = 1.0
_PAUSE_SECONDS = 0.02
# How long new readers may be made to wait then: doubled each time it wasn't enough.
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 8.0
# How many sessions more may stand in lock queues.
_MOST_GATES = 24
# For a lock that wasn't foreseen, such as one of a temporary view.
_STRAY_LOCK_SECONDS = 0.02
# How many of those who use the tables an error names.
_HOLDERS = 5


class Swap(NamedTuple):
    """Tables to switch: schema of the old ones, schema of the new ones, and their names.

    What refers to other tables comes after them.
    """

    old: str
    new: str
    tables: tuple[str, ...] = NAMES


def dependents(connection: Connection, schema: str, tables: Sequence[str] = NAMES) -> list[str]:
    """Name what hangs on tables and can't follow them through a switch."""
    parameters = {"schema": schema, "tables": list(tables)}
    with connection.transaction():
        use_schemas(connection, schema)
        found = connection.execute(statements.read("switch/dependents"), parameters).fetchall()
        views = connection.execute(statements.read("switch/views"), parameters).fetchall()
    stuck = [f"view {name}, which {obstacle}" for name, obstacle, _ in views if obstacle]
    return [name for (name,) in found] + stuck


def switch(
    connection: Connection,
    swaps: Sequence[Swap],
    *,
    dsn: str,
    patience: float,
    drop_dependents: bool = False,
) -> None:
    """Put new tables in the place of old ones, in the transaction that is open.

    All that readers could come to is locked first, all at once or not at all: views that name one
    of the old tables, these tables, their sequences. An attempt that meets a lock is undone as a
    whole, so that no reader ever waits for this transaction while it waits for them.

    Args:
        connection: in the transaction.
        swaps: the tables, and where they are.
        dsn: where to make more connections, if they are needed.
        patience: seconds to wait for those who use the old tables.
        drop_dependents: drop what can't follow.

    Raises:
        SparkifyBulkError: the tables were in use for too long; it names by whom.
    """
    begun = time.monotonic()
    _lock_new(connection, swaps)
    _wait_for_upkeep(connection, swaps, patience)
    seconds = _FIRST_WAIT_SECONDS
    with Gates(dsn) as gates:
        while True:
            queues = time.monotonic() - begun > _GENTLE_SECONDS
            try:
                with connection.transaction():
                    if queues:
                        _queue_for_all(connection, swaps, gates, seconds)

                    else:
                        _lock_all(connection, swaps)
                    _replace(connection, swaps, drop_dependents=drop_dependents)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                left = patience - (time.monotonic() - begun)
                if left < 0:
                    raise _in_use(connection, swaps, patience) from None
                if queues:
                    seconds = min(2 * seconds, _LONGEST_WAIT_SECONDS)
                time.sleep(min(_PAUSE_SECONDS, left))
            else:
                return


# --- locks --------------------------------------------------------------------------------------


class _Relation(NamedTuple):
    """What a switch locks: its OID, the statements that lock it wholly, and against gates only."""

    oid: int
    lock: str
    claim: str | None


def _relations(connection: Connection, swaps: Sequence[Swap]) -> list[_Relation]:
    """Return what is to be locked, in the order in which readers come to it."""
    parameters = {
        "schemas": [swap.old for swap in swaps for _ in swap.tables],
        "tables": [table for swap in swaps for table in swap.tables],
    }
    rows = connection.execute(statements.read("switch/locks"), parameters).fetchall()
    return [_Relation(*row) for row in rows]


def _lock_all(connection: Connection, swaps: Sequence[Swap]) -> None:
    """Lock all that readers could come to, without waiting for any of them.

    Raises:
        psycopg.errors.LockNotAvailable: something is in use, or a view came that isn't locked.
    """
    relations = _relations(connection, swaps)
    _set_lock_timeout(connection, 0)
    for relation in relations:
        # Made by the server from its own catalogue, every name in it quoted there.
        connection.execute(sql.SQL(relation.lock))
    _check_complete(connection, swaps, relations)


def _queue_for_all(
    connection: Connection, swaps: Sequence[Swap], gates: "Gates", seconds: float
) -> None:
    """Lock all that readers could come to, in the lock queue: for readers who leave no gap.

    One transaction can wait in one queue only. A reader that comes to another of the relations
    meanwhile would hold that, and wait for this one, for ever. So a gate stands in the queue of
    each: who comes waits behind it, and holds nothing yet, while those who read already come to
    their end. The publisher, which has a claim on each, goes before the gate.

    A reader that is caught between two gates, with a lock on a relation already, ends the attempt
    long before its `deadlock_timeout`, after which one of both would fail.

    Args:
        connection: in a transaction that is rolled back if this fails.
        swaps: the tables.
        gates: other sessions.
        seconds: how long new readers may be made to wait.

    Raises:
        psycopg.errors.LockNotAvailable: something stayed in use, or somebody was caught.
    """
    relations = _relations(connection, swaps)
    oids = [relation.oid for relation in relations]
    step = _watch_seconds(connection)
    _set_lock_timeout(connection, step)
    for relation in relations:
        if relation.claim:
            connection.execute(sql.SQL(relation.claim))
    gates.places |= {oid for (oid,) in _look(connection, "busy", oids)}
    gates.close([r.lock for r in relations if r.oid in gates.places], seconds)
    until = time.monotonic() + seconds
    try:
        for relation in relations:
            while not _lock_within(connection, relation.lock, step):
                if time.monotonic() > until or _is_anyone_caught(connection, oids):
                    raise psycopg.errors.LockNotAvailable
    finally:
        gates.open()
    _check_complete(connection, swaps, relations)


def _check_complete(
    connection: Connection, swaps: Sequence[Swap], relations: list[_Relation]
) -> None:
    """Look whether there are views that aren't locked: none can come any more."""
    if _relations(connection, swaps) != relations:
        raise psycopg.errors.LockNotAvailable
    # For a lock that isn't foreseen, such as one of a temporary view.
    _set_lock_timeout(connection, _STRAY_LOCK_SECONDS)


def _lock_within(connection: Connection, lock: str, seconds: float) -> bool:
    """Wait for a lock; tell whether it was had. The place before a gate isn't lost by trying."""
    try:
        with connection.transaction():
            _set_lock_timeout(connection, seconds)
            connection.execute(sql.SQL(lock))
    except psycopg.errors.LockNotAvailable:
        return False
    return True


class Gates:
    """Sessions that each stand in the lock queue of one relation, so that readers wait behind them.

    They never hold anything: their statement changes nothing, and ends when it gets its lock.
    """

    def __init__(self, dsn: str) -> None:
        """Make no connection yet: few switches need any."""
        self.places: set[int] = set()
        self._dsn = dsn
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        """Return the gates, all open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()

    def close(self, locks: Sequence[str], seconds: float) -> None:
        """Let sessions wait for locks, no longer than so many seconds, and return at once."""
        with contextlib.suppress(DatabaseError, psycopg.Error):
            # Where the server takes no more connections, those that there are will have to do.
            while len(self._connections) < min(len(locks), _MOST_GATES):
                self._connections.append(connect(self._dsn))
        limits = f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {seconds * 1000:.0f}"
        for connection, lock in zip(self._connections, locks, strict=False):
            connection.pgconn.send_query(f"BEGIN; {limits}; {lock}; ROLLBACK".encode())

    def open(self) -> None:
        """End the waiting."""
        for connection in self._connections:
            pgconn = connection.pgconn
            if pgconn.transaction_status == TransactionStatus.ACTIVE:
                pgconn.get_cancel().cancel()
                while pgconn.get_result():
                    pass
                connection.rollback()


def _set_lock_timeout(connection: Connection, seconds: float) -> None:
    """Let statements wait so long for a lock, a millisecond at least, until the savepoint ends."""
    limits = {"lock_timeout": str(max(1, int(seconds * 1000))), "statement_timeout": "0"}
    set_locally(connection, limits)


def _watch_seconds(connection: Connection) -> float:
    """Return a tenth of the time after which a waiting reader looks for a deadlock."""
    row = connection.execute(
        "SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)"
    ).fetchone()
    return float(row[0]) / 10 if row else 0.0


def _is_anyone_caught(connection: Connection, relations: list[int]) -> bool:
    return _look(connection, "caught", relations) == [(True,)]


def _look(connection: Connection, statement: str, relations: list[int]) -> list[tuple[Any, ...]]:
    """Look at the locks that others hold on some relations."""
    parameters = {"relations": relations, "publisher": connection.info.backend_pid}
    return connection.execute(statements.read(f"switch/{statement}"), parameters).fetchall()


def _lock_new(connection: Connection, swaps: Sequence[Swap]) -> None:
    """Lock the new tables, which nobody reads; an autovacuum that is at them gives way."""
    new = [sql.Identifier(swap.new, table) for swap in swaps for table in swap.tables]
    lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
    connection.execute(lock.format(sql.SQL(", ").join(new)))


def _wait_for_upkeep(connection: Connection, swaps: Sequence[Swap], patience: float) -> None:
    """Wait for VACUUM and the like to end, by a lock that lets readers and writers be.

    An autovacuum gives way to who waits for it so, and doesn't come back.

    Raises:
        SparkifyBulkError: it didn't end in time.
    """
    old = [
        sql.Identifier(swap.old, table) for swap in swaps for table in _existing(connection, swap)
    ]
    if not old:
        return
    lock = sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE")
    try:
        with lock_timeout(connection, patience):
            connection.execute(lock.format(sql.SQL(", ").join(old)))
    except psycopg.errors.LockNotAvailable:
        raise _in_use(connection, swaps, patience) from None


def _existing(connection: Connection, swap: Swap) -> list[str]:
    """Return the old tables that there are and whose rights let this role lock them."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'"
        " AND relname = ANY (%s) AND has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE')",
        (swap.old, list(swap.tables)),
    ).fetchall()
    return [name for (name,) in rows]


def _replace(connection: Connection, swaps: Sequence[Swap], *, drop_dependents: bool) -> None:
    """Drop the old tables, and move the new ones to where they were; all is locked."""
    drop = "DROP TABLE IF EXISTS {} CASCADE" if drop_dependents else "DROP TABLE IF EXISTS {}"
    for swap in swaps:
        parameters = {"schema": swap.old, "tables": list(swap.tables)}
        carried = connection.execute(statements.read("switch/grants"), parameters).fetchall()
        _repoint_views(connection, swap.old, swap.new, parameters)
        for name in reversed(swap.tables):
            connection.execute(sql.SQL(drop).format(sql.Identifier(swap.old, name)))
        for name in swap.tables:
            new = sql.Identifier(swap.new, name)
            # The mark of a table that the next run may drop; the old table's comment follows.
            connection.execute(sql.SQL("COMMENT ON TABLE {} IS NULL").format(new))
            connection.execute(
                sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(new, sql.Identifier(swap.old))
            )
        use_schemas(connection, swap.old)
        for (statement,) in carried:
            # Made by the server, as above.
            connection.execute(sql.SQL(statement))


def _repoint_views(
    connection: Connection, old: str, new: str, parameters: Mapping[str, object]
) -> None:
    """Let views of old tables see the new ones."""
    use_schemas(connection, old)
    views = connection.execute(statements.read("switch/views"), parameters).fetchall()
    use_schemas(connection, new, old)
    for _, obstacle, statement in views:
        if not obstacle:
            # Made by the server, as above.
            connection.execute(sql.SQL(statement))


def _in_use(connection: Connection, swaps: Sequence[Swap], patience: float) -> SparkifyBulkError:
    """Return the error that says who uses the old tables."""
    oids = [relation.oid for relation in _relations(connection, swaps)]
    users = _look(connection, "holders", oids)
    named = "; ".join(_holder(*row) for row in users[:_HOLDERS]) or "sessions that come and go"
    more = f"; and {len(users) - _HOLDERS} more" if len(users) > _HOLDERS else ""
    return SparkifyBulkError(
        f"the tables in {swaps[-1].old} stayed in use for {patience:g} s, by {named}{more}",
        hint="the star is untouched; let these sessions end, or end them (SELECT "
        "pg_terminate_backend(PID)), and run again, or wait longer with --switch-patience SECONDS",
    )


def _holder(
    pid: int | None, user: str | None, application: str, since: datetime | None, statement: str
) -> str:
    if pid is None:
        return "a prepared transaction (see pg_prepared_xacts)"
    words = [f"process {pid}", f"user {user}" if user else "an unknown user"]
    words += [f"application {application}"] if application else []
    words += [f"since {since:%Y-%m-%d %H:%M:%S %Z}"] if since else []
    return ", ".join(words) + (f": {statement}" if statement else "")
