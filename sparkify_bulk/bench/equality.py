"""Whether two stars are equal: their rows, keys and indexes."""

import re
from collections.abc import Iterator

import psycopg
from psycopg import sql

from sparkify_bulk.bench.floor import recipe_of
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.tables import SONGPLAYS, STAR, Table


def differences(connection: Connection, schema: str, reference: str) -> list[str]:
    """Return in what a star differs from another: rows of the contract's columns, keys, indexes."""
    found: list[str] = []
    for table in STAR:
        try:
            with connection.transaction():
                found += _row_differences(connection, table, schema, reference)
        except psycopg.Error as error:
            found.append(f"{table.name}: {error.diag.message_primary}")
    if not found:
        found += _key_differences(connection, schema, reference)
    return found


def _row_differences(
    connection: Connection, table: Table, schema: str, reference: str
) -> Iterator[str]:
    names = [c.name for c in table.columns if (table, c.name) != (SONGPLAYS, SONGPLAYS.primary_key)]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    theirs, ours = (
        sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(name, table.name))
        for name in (schema, reference)
    )
    for what, first, second in (("missing", ours, theirs), ("too many", theirs, ours)):
        query = sql.SQL("SELECT count(*), min(d::text) FROM ({} EXCEPT ALL {}) AS d").format(
            first, second
        )
        count, example = connection.execute(query).fetchone() or (0, "")
        if count:
            yield f"{table.name}: {count:,} rows {what}, such as {example}"


def _key_differences(connection: Connection, schema: str, reference: str) -> list[str]:
    theirs, ours = (_keys(connection, name) for name in (schema, reference))
    return [f"no {key}" for key in sorted(ours - theirs)] + [
        f"{key} is none of the product's" for key in sorted(theirs - ours)
    ]


def _keys(connection: Connection, schema: str) -> set[str]:
    """Return what is built on a star's tables, whatever it is called."""
    recipe = recipe_of(connection, schema)
    named = re.compile(r'CREATE (UNIQUE )?INDEX \S+ ON \S+|ADD CONSTRAINT "[^"]*"')
    found = [(i["table"], i["definition"]) for i in recipe["indexes"]]
    found += [(t, change) for t, all_ in recipe["references"].items() for change in all_]
    found += [
        (t, change.split(" USING ")[0]) for t, all_ in recipe["keys"].items() for change in all_
    ]
    return {
        f"{table}: {named.sub(lambda m: 'unique ' if m[1] else '', text).strip()}"
        for table, text in found
    }
