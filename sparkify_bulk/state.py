"""Find out what stands in a star's schema, and whether runs can work with it."""

from collections.abc import Mapping, Sequence

from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.connection import Connection
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.stage import use_schemas
from sparkify_bulk.tables import NAMES, STAR

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
    parameters = {"star": star, "tables": list(NAMES)}
    with connection.transaction():
        use_schemas(connection, star)
        rows = connection.execute(statements.read("checks/columns"), parameters).fetchall()
        keys = connection.execute(statements.read("checks/keys"), parameters).fetchall()
    if not rows:
        return False
    found = {name: dict(zip(columns, types, strict=True)) for name, _, columns, types in rows}
    _refuse_others(star, {name: kind for name, kind, _, _ in rows}, found)
    _refuse_added(star, found)
    if not replace and (altered := _altered(found, [(name, tuple(key)) for name, key in keys])):
        raise SparkifyBulkError(
            f"the star in {star} was altered: {'; '.join(altered)}",
            hint="sparkify-bulk reload DATA makes it anew from the files",
        )
    return True


def _refuse_others(
    star: str, kinds: Mapping[str, str], found: Mapping[str, Mapping[str, str]]
) -> None:
    """Refuse what bears the name of a table of the star but isn't one."""
    others = []
    for table in STAR:
        kind = kinds.get(table.name, "r")
        lacking = [c.name for c in table.all_columns if c.name not in found.get(table.name, {})]
        if kind != "r":
            others.append(f"{table.name} is {_KINDS.get(kind, 'no table')}")
        elif lacking and table.name in found:
            others.append(f"{table.name} lacks {', '.join(lacking)}")
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
        for table in STAR
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
            f"the star in {star} has columns that are not its own: {named}",
            hint="a reload would lose them: keep them in a table of your own, joined by the "
            f"star's key, or in a view, and take them off the star: {drops};",
        )


def _altered(
    found: Mapping[str, Mapping[str, str]], keys: Sequence[tuple[str, tuple[str, ...]]]
) -> list[str]:
    """Say which tables are missing, and which columns' types and which keys aren't the star's."""
    altered = []
    for table in STAR:
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
