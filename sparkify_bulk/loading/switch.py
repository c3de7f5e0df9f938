"""Put a new star in the place of the old one, with all that hangs on it."""

import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from sparkify_bulk import ledger, statements
from sparkify_bulk.database.connection import Connection, connect
from sparkify_bulk.database.transaction import lock_timeout, set_locally, use_schemas
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError
from sparkify_bulk.loading.merge import constrain, make_tables
from sparkify_bulk.tables import NAMES

logger = logging.getLogger("sparkify_bulk")

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
# The order in which what a table has by itself can be made, and what is set on it.
_ORDER = (
    "column", "sequence", "column property", "index", "constraint", "index property",
    "replica identity", "comment",
)  # fmt: skip
# What is made rather than set: it can't be where something else has its name.
_MADE = ("index", "constraint", "statistics")
# Rights on a table, on the sequences of its columns, and on columns, which a revoked right on the
# table would take along.
_GRANTS = ("grant", "sequence grant", "column grant")
# How many of those who use the tables an error names.
_HOLDERS = 5


class Swap(NamedTuple):
    """Tables to switch: schema of the old ones, schema of the new ones, and their names.

    What refers to other tables comes after them.
    """

    old: str
    new: str
    tables: tuple[str, ...] = NAMES


class Attachment(NamedTuple):
    """Something that hangs on a table of the star, or was set on it: see switch/attachments.sql."""

    table: str
    kind: str
    name: str
    definition: str
    fate: str
    statement: str | None
    grantor: str | None


def attachments(connection: Connection, swaps: Sequence[Swap]) -> list[Attachment]:
    """Return all that hangs on the old tables."""
    return _attachments(connection, [(swap.old, swap.tables) for swap in swaps])


def refusals(connection: Connection, swaps: Sequence[Swap]) -> list[str]:
    """Name what hangs on the old tables and, whatever the new ones are, can't follow a switch."""
    with connection.transaction():
        found = attachments(connection, swaps)
        return _refused(found) + _stuck_views(connection, swaps)


def losses(connection: Connection, swaps: Sequence[Swap]) -> tuple[list[str], list[str]]:
    """Name all that a switch would lose, by a look at an empty star that is made for it and undone.

    Temporary objects of sessions, which are dropped, are named apart.

    Args:
        connection: in autocommit mode.
        swaps: the tables; nothing is in the schema of the new ones yet.
    """
    with connection.transaction(force_rollback=True):
        found = attachments(connection, swaps)
        if not found:
            return [], []
        stuck = _stuck_views(connection, swaps)
        _make_empty_star(connection, swaps)
        lost = _lost(found, _new_attachments(connection, swaps))
        return _refused(found) + stuck + lost, _temporary(found)


def switch(
    connection: Connection,
    swaps: Sequence[Swap],
    *,
    dsn: str,
    patience: float,
    dropped: Collection[str] = (),
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
        dropped: names of what can't follow, and may be dropped.

    Raises:
        SparkifyBulkError: the tables were in use for too long; it names by whom. Or something can't
            be carried over.
    """
    begun = time.monotonic()
    _lock_new(connection, swaps, patience)
    _wait_for_upkeep(connection, swaps, patience)
    before = _carry(connection, swaps, dropped)
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
                    _replace(connection, swaps, *before, dropped)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                left = patience - (time.monotonic() - begun)
                if left < 0:
                    raise _in_use(connection, swaps, patience) from None
                if queues:
                    seconds = min(2 * seconds, _LONGEST_WAIT_SECONDS)
                time.sleep(min(_PAUSE_SECONDS, left))
            else:
                return


# --- what hangs on the star ---------------------------------------------------------------------


def _attachments(
    connection: Connection, places: Sequence[tuple[str, Sequence[str]]]
) -> list[Attachment]:
    """Return what hangs on tables of some schemas, these in sight, the last one first."""
    parameters = {
        "schemas": [schema for schema, tables in places for _ in tables],
        "tables": [table for _, tables in places for table in tables],
    }
    use_schemas(connection, *dict.fromkeys(schema for schema, _ in reversed(places)))
    rows = connection.execute(statements.read("switch/attachments"), parameters).fetchall()
    return [Attachment(*row) for row in rows]


def _new_attachments(connection: Connection, swaps: Sequence[Swap]) -> list[Attachment]:
    return _attachments(connection, [(swap.new, swap.tables) for swap in swaps])


def _refused(found: Iterable[Attachment]) -> list[str]:
    return [one.name for one in found if one.fate == "refused"]


def _temporary(found: Iterable[Attachment]) -> list[str]:
    return [one.name for one in found if one.fate == "dropped"]


def _different(old: Sequence[Attachment], new: Sequence[Attachment]) -> list[Attachment]:
    """Return what the old tables have and the new ones lack, or have otherwise."""
    there = {(one.kind, one.name): one.definition for one in new}
    return [one for one in old if there.get((one.kind, one.name)) != one.definition]


def _lost(old: Sequence[Attachment], new: Sequence[Attachment]) -> list[str]:
    """Name what can't be made so on the new tables.

    Columns, what has another one's name, and constraints of the star's own that were renamed.
    """
    taken = {one.name for one in new}
    stay = {one.name for one in old}
    renamed = {(one.table, one.kind, one.definition) for one in new if one.name not in stay}
    return [
        f"{one.name}, which was changed" if one.name in taken else one.name
        for one in _different(old, new)
        if one.fate == "own"
        or (one.kind in _MADE and one.name in taken)
        or (one.kind == "constraint" and (one.table, one.kind, one.definition) in renamed)
    ]


def _stuck_views(connection: Connection, swaps: Sequence[Swap]) -> list[str]:
    """Name the views of the old tables that this role can't make anew."""
    names = []
    for swap in swaps:
        parameters = {"schema": swap.old, "tables": list(swap.tables)}
        use_schemas(connection, swap.old)
        views = connection.execute(statements.read("switch/views"), parameters).fetchall()
        names += [f"view {name}, which {obstacle}" for name, obstacle, _ in views if obstacle]
    return list(dict.fromkeys(names))


def _make_empty_star(connection: Connection, swaps: Sequence[Swap]) -> None:
    """Make what the new tables will be, but for their rows."""
    use_schemas(connection, *dict.fromkeys(swap.new for swap in swaps))
    make_tables(connection)
    for group in ("indexes", "keys", "references"):
        constrain(connection, group, *NAMES)
    ledger.make_files(connection)
    ledger.complete_files(connection)


def _carry(
    connection: Connection, swaps: Sequence[Swap], dropped: Collection[str]
) -> tuple[list[Attachment], list[Attachment]]:
    """Carry over what can be made before the switch.

    Returns:
        All that the old tables have, and all that the new ones had by themselves.

    Raises:
        SparkifyBulkError: something can't be carried over.
    """
    for swap in swaps:
        for table in swap.tables:
            # The mark of a table that the next run may drop.
            new_table = sql.Identifier(swap.new, table)
            connection.execute(sql.SQL("COMMENT ON TABLE {} IS NULL").format(new_table))
    old, new = attachments(connection, swaps), _new_attachments(connection, swaps)
    _check_losses(_lost(old, new), dropped)
    kinds = {kind: place for place, kind in enumerate(_ORDER)}
    missing = [
        one
        for one in _different(old, new)
        if one.fate == "carried" and not _is_gone(one, old, new, dropped)
    ]
    for one in sorted(missing, key=lambda one: kinds.get(one.kind, -1)):
        _make(connection, one)
    return old, new


def _is_gone(
    one: Attachment, old: Sequence[Attachment], new: Sequence[Attachment], dropped: Collection[str]
) -> bool:
    """Tell whether something hangs on what is dropped itself, such as a column's comment."""
    if not dropped:
        return False
    there = {other.name for other in new}
    gone = [other.name for other in old if other.name in dropped and other.name not in there]
    # A key takes its index along.
    gone += [f"index {name.removeprefix('constraint ')}" for name in gone]
    return any(one.name.endswith(name) for name in gone)


def _make(connection: Connection, one: Attachment) -> None:
    """Make something on the new tables, which are in sight.

    Raises:
        SparkifyBulkError: it can't be made; the error says why.
    """
    try:
        with connection.transaction():
            # Made by the server from its own catalogue, every name in it quoted there.
            connection.execute(sql.SQL(one.statement or ""))
    except psycopg.errors.LockNotAvailable:
        raise
    except psycopg.Error as error:
        raise SparkifyBulkError(
            f"{one.name} can't be carried over to the new star: {error.diag.message_primary}",
            hint="the star is untouched; drop it, or correct the files, and run again",
        ) from error


def _check_losses(names: Sequence[str], dropped: Collection[str]) -> None:
    """Refuse to lose what may not be dropped.

    Raises:
        SparkifyBulkError: names it.
    """
    if lost := [name for name in names if name not in dropped]:
        raise SparkifyBulkError(
            "objects that can't be carried over to the new tables were created during the run: "
            f"{', '.join(lost)}",
            hint="the star is untouched; drop them, or run again with --drop-dependents",
        )


# --- rights -------------------------------------------------------------------------------------


def _set_rights(
    connection: Connection, swap: Swap, old: Sequence[Attachment], new: Sequence[Attachment]
) -> None:
    """Give the new tables, which are in sight, exactly the rights that the old ones had.

    Tables of a schema, or of a role, may have got others by default.
    """
    for table in sorted({one.table for one in old} & set(swap.tables)):
        for kind in _GRANTS:
            grants = [one for one in old if (one.table, one.kind) == (table, kind)]
            by_default = [one for one in new if (one.table, one.kind) == (table, kind)]
            if _said(grants) == _said(by_default):
                continue
            parameters = {"schema": swap.old, "tables": [table], "kind": kind}
            revokes = connection.execute(statements.read("switch/revokes"), parameters)
            for (statement,) in revokes.fetchall():
                connection.execute(sql.SQL(statement))
            for one in sorted(grants, key=lambda one: one.definition):
                _grant(connection, one)


def _said(grants: Iterable[Attachment]) -> set[tuple[str, str]]:
    return {(one.name, one.definition) for one in grants}


def _grant(connection: Connection, one: Attachment) -> None:
    """Grant a right, in the name of the role that had granted it if that can be."""
    if one.grantor is not None and _grant_as(connection, one.grantor, one):
        return
    # A column that was dropped, as had been said, takes its rights along.
    with contextlib.suppress(psycopg.errors.UndefinedColumn), connection.transaction():
        connection.execute(sql.SQL(one.statement or ""))


def _grant_as(connection: Connection, grantor: str, one: Attachment) -> bool:
    """Grant a right in the name of the role that had granted it; tell whether that could be."""
    try:
        with connection.transaction():
            before = connection.execute("SELECT current_setting('role')").fetchone()
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(grantor)))
            connection.execute(sql.SQL(one.statement or ""))
            connection.execute("SELECT set_config('role', %s, true)", before)
    except psycopg.errors.LockNotAvailable:
        raise
    except psycopg.Error as error:
        logger.warning(
            "The right %s is now granted by the owner: it couldn't be granted by %s (%s)",
            one.name,
            grantor,
            error.diag.message_primary,
        )
        return False
    return True


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


def _lock_new(connection: Connection, swaps: Sequence[Swap], patience: float) -> None:
    """Lock the new tables, which nobody reads but a backup; an autovacuum gives way.

    Raises:
        SparkifyBulkError: they stayed in use.
    """
    new = [sql.Identifier(swap.new, table) for swap in swaps for table in swap.tables]
    lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
    try:
        with lock_timeout(connection, max(patience, _LONGEST_WAIT_SECONDS)):
            connection.execute(lock.format(sql.SQL(", ").join(new)))
    except psycopg.errors.LockNotAvailable:
        raise _in_use(connection, swaps, patience) from None


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


def _replace(
    connection: Connection,
    swaps: Sequence[Swap],
    before: Sequence[Attachment],
    new: Sequence[Attachment],
    dropped: Collection[str],
) -> None:
    """Drop the old tables, and move the new ones to where they were; all is locked.

    Raises:
        SparkifyBulkError: something hangs on the star that wasn't there before.
    """
    old = attachments(connection, swaps)
    _check_losses(_refused(old) + _stuck_views(connection, swaps), dropped)
    _check_losses([one.name for one in old if one.fate == "carried" and one not in before], ())
    if gone := _temporary(old):
        logger.warning("Temporary objects of other sessions are dropped: %s", ", ".join(gone))
    # What it drops besides has been named: nothing can have come since, all is locked.
    drop = "DROP TABLE IF EXISTS {} CASCADE" if dropped or gone else "DROP TABLE IF EXISTS {}"
    for swap in swaps:
        parameters = {"schema": swap.old, "tables": list(swap.tables)}
        _repoint_views(connection, swap.old, swap.new, parameters)
        olds = sql.SQL(", ").join(sql.Identifier(swap.old, name) for name in swap.tables)
        connection.execute(sql.SQL(drop).format(olds))
        for name in swap.tables:
            connection.execute(
                sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                    sql.Identifier(swap.new, name), sql.Identifier(swap.old)
                )
            )
    use_schemas(connection, *(swap.old for swap in reversed(swaps)))
    moved = [
        one
        for one in _different(old, new)
        if one.fate == "moved" and one.kind not in _GRANTS and not _is_gone(one, old, new, dropped)
    ]
    for one in sorted(moved, key=lambda one: one.kind != "owner"):
        _make(connection, one)
    kept = [one for one in old if not _is_gone(one, old, new, dropped)]
    for swap in swaps:
        _set_rights(connection, swap, kept, new)


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
