"""Find out what stands in a star's schema, and whether runs can work with it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from psycopg import sql

from sparkify_bulk import ledger, statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.transaction import mark_table, use_schemas
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.settings import Schemas
from sparkify_bulk.tables import LAST_LOAD, NAMES, STAR, Table

# A table of fewer bytes than these is counted at once: that takes a few milliseconds.
_SMALL_TABLE_BYTES = 16 * 2**20

# What may bear the name of a table, by `pg_class.relkind`.
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "p": "a partitioned table",
    "i": "an index",
    "I": "an index",
    "S": "a sequence",
    "c": "a type",
}


# What a star has beside its tables: the names must be free.
INDEXES = (
    *(f"{name}_pkey" for name in (*NAMES, LAST_LOAD.name)),
    "songs_duration",
    "songplays_event_length",
    "songplays_natural_key",
    "songplays_songplay_id_seq",
)


def star_exists(connection: Connection, star: str, *, replace: bool = False) -> bool:
    """Tell whether a schema holds a star that a load can add to.

    Args:
        connection: in autocommit mode, or in a transaction.
        star: the schema.
        replace: the tables will be replaced as a whole: it is enough that none is somebody else's.

    Raises:
        SparkifyBulkError: it holds something else under the names of the star's tables, some of the
            tables only, or tables that were altered.
    """
    parameters = {"star": star, "tables": [*NAMES, LAST_LOAD.name]}
    with connection.transaction():
        use_schemas(connection, star)
        rows = connection.execute(statements.read("checks/columns"), parameters).fetchall()
        keys = connection.execute(statements.read("checks/keys"), parameters).fetchall()
        needed = parameters | {"needed": list(INDEXES)}
        taken = connection.execute(statements.read("checks/names_taken"), needed).fetchall()
    found = {name: dict(zip(columns, types, strict=True)) for name, _, columns, types in rows}
    kinds = {name: kind for name, kind, _, _ in rows}
    _refuse_others(star, kinds, found, [name for (name,) in taken])
    _refuse_added(star, found)
    if not set(found) & set(NAMES):
        return False
    if not replace and (altered := _altered(found, [(name, tuple(key)) for name, key in keys])):
        raise SparkifyBulkError(
            f"the star in {star} was altered: {'; '.join(altered)}",
            hint="sparkify-bulk reload DATA makes it anew from the files; with --drop-dependents "
            "where the type of a column was changed",
        )
    return True


def require_star(connection: Connection, star: str) -> None:
    """Refuse to go on where there is no star.

    Raises:
        SparkifyBulkError: there is none.
    """
    if not star_exists(connection, star):
        raise SparkifyBulkError(
            f"there is no star in the schema {star}",
            hint="make one with sparkify-bulk reload DATA, or name another by --schema",
        )


# --- the two main stories -------------------------------------------------------------------------


def _refuse_others(
    star: str,
    kinds: Mapping[str, str],
    found: Mapping[str, Mapping[str, str]],
    taken: Sequence[str],
) -> None:
    """Refuse what bears the name of a table of the star, or of its indexes, but isn't one."""
    others = list(taken)
    for table in (*STAR, LAST_LOAD):
        kind = kinds.get(table.name, "r")
        lacking = [c.name for c in table.all_columns if c.name not in found.get(table.name, {})]
        if kind != "r":
            others.append(f"{table.name} is {_KINDS.get(kind, 'no table')}")
        elif lacking and table.name in found:
            others.append(f"{table.name} lacks {', '.join(lacking)}")
    missing = [name for name in NAMES if name not in found]
    if found and missing and LAST_LOAD.name not in found:
        # Not every table has a column that no other model has: alone it is not known for a star's.
        stand = " and ".join(found)
        others.append(f"{stand} {'stands' if len(found) == 1 else 'stand'} there without a star")
    if others:
        raise SparkifyBulkError(
            f"the schema {star} holds tables that this version of sparkify-bulk did not make: "
            + "; ".join(others),
            hint="nothing was changed; name another schema by --schema, or keep these tables under "
            f"another name, and run reload then: ALTER SCHEMA {star} RENAME TO {star}_old;",
        )


def _refuse_added(star: str, found: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse tables of the star to which columns were added: a reload would lose them."""
    added = [
        (table.name, column)
        for table in (*STAR, LAST_LOAD)
        for column in found.get(table.name, {})
        if column not in {own.name for own in table.all_columns}
    ]
    if added:
        drops = "; ".join(
            sql.SQL("ALTER TABLE {} DROP COLUMN {}")
            .format(sql.Identifier(star, table), sql.Identifier(column))
            .as_string()
            for table, column in added
        )
        named = ", ".join(f"{table}.{column}" for table, column in added)
        raise SparkifyBulkError(
            f"the star in {star} has added columns: {named}",
            hint="a reload would lose them: keep them in a table of your own, joined by the "
            f"star's key, or in a view, and drop them: {drops};",
        )


def _altered(
    found: Mapping[str, Mapping[str, str]], keys: Sequence[tuple[str, tuple[str, ...]]]
) -> list[str]:
    """Say which tables are missing, and which columns' types and which keys aren't the star's."""
    altered = []
    beside: tuple[Table, ...] = (LAST_LOAD,) if LAST_LOAD.name in found else ()
    for table in (*STAR, *beside):
        if table.name not in found:
            altered.append(f"{table.name} is missing")
            continue
        for column in table.all_columns:
            kind = found[table.name][column.name]
            if kind != column.type:
                altered.append(f"{table.name}.{column.name} is {kind}, not {column.type}")
        there = [set(key) for name, key in keys if name == table.name]
        altered += [
            f"{table.name} lacks its unique key ({', '.join(key)})"
            for key in dict.fromkeys(((table.primary_key,), table.natural_key))
            if set(key) not in there
        ]
    return altered


# --- which run made it, and how many rows it has --------------------------------------------------


def name_run(connection: Connection, names: Schemas, run_id: int, started_at: datetime) -> None:
    """Note in a star which run changes it, in the transaction that is open."""
    use_schemas(connection, names.star)
    if not ledger.exists(connection, LAST_LOAD.name):
        # Made where the star's tables are made, so that who may read these by default may read it.
        use_schemas(connection, names.build)
        connection.execute(statements.read(f"schema/{LAST_LOAD.name}"))
        table = sql.Identifier(names.build, LAST_LOAD.name)
        mark_table(connection, table, names.mark("which run changed it last"))
        move = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
        connection.execute(move.format(table, sql.Identifier(names.star)))
        use_schemas(connection, names.star)
    parameters = {"run_id": run_id, "started_at": started_at}
    connection.execute(statements.read("merge/last_load"), parameters)


def require_same_run(connection: Connection, names: Schemas) -> ledger.Published:
    """Refuse to add to a star that the ledger's last run didn't leave; return that run.

    Args:
        connection: in autocommit mode, or in a transaction.
        names: of a star that exists.

    Raises:
        SparkifyBulkError: star and ledger differ.
    """
    ledger.refuse_other_version(connection, names)
    with connection.transaction():
        use_schemas(connection, names.ledger)
        last = ledger.last_published(connection)
        use_schemas(connection, names.star)
        made = None
        if ledger.exists(connection, LAST_LOAD.name):
            made = connection.execute(statements.read("checks/last_load")).fetchone()
    if last and made == (last.run_id, last.started_at):
        return last
    star = f"was last changed by {_run_of(made)}" if made else "doesn't say which run changed it"
    ends = (
        f"ends with {_run_of((last.run_id, last.started_at))}"
        if last
        else "has no run that made it"
    )
    raise SparkifyBulkError(
        f"the star in {names.star} and its ledger in {names.ledger} do not belong together: the "
        f"star {star}, the ledger {ends}; one of them was restored, replaced or lost",
        hint="rebuild both: sparkify-bulk reload DATA; or restore both from the same dump",
    )


def _run_of(made: tuple[int, datetime]) -> str:
    run_id, started_at = made
    return f"run {run_id} of {started_at:%Y-%m-%d %H:%M:%S %Z}"


def table_states(connection: Connection, star: str) -> dict[str, tuple[int, str | None]]:
    """Return the bytes of each table of a star, and a text that changes when rows come or go.

    The text is None where the server doesn't count. It learns of rows when a session is idle.
    """
    parameters = {"star": star, "tables": list(NAMES)}
    rows = connection.execute(statements.read("checks/table_states"), parameters).fetchall()
    return {name: (size, state) for name, size, state in rows}


def count_rows(connection: Connection, star: str, last: ledger.Published) -> dict[str, int]:
    """Return how many rows each table of a star has, reading large ones only if they have changed.

    Args:
        connection: in a transaction.
        star: the schema.
        last: the run that left the star as it should be.
    """
    rows = {}
    for name, (size, state) in table_states(connection, star).items():
        if size >= _SMALL_TABLE_BYTES and state and state == last.states.get(name):
            rows[name] = last.rows[name]
        else:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(star, name))
            rows[name] = (connection.execute(count).fetchone() or (0,))[0]
    return rows


def changed_by_hand(rows: Mapping[str, int], last: ledger.Published) -> str:
    """Say which tables have other numbers of rows than the last run left; empty if none has."""
    return ", ".join(
        f"{name} has {rows[name]:,} rows, but had {last.rows[name]:,}"
        for name in NAMES
        if rows[name] != last.rows[name]
    )
