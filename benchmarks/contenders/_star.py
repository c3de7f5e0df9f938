"""The star that every contender fills: the product's tables, keys, indexes and references.

Bookkeeping columns are there, and may stay empty: only the contract's are compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.tables import SONGPLAYS, STAR, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUPS = statements.CONSTRAINTS


def filled_columns(table: Table) -> list[str]:
    """Return the columns that a contender fills: the contract's, without the surrogate key."""
    names = [column.name for column in table.columns]
    return names[1:] if table is SONGPLAYS else names


def make(connection: psycopg.Connection[Any], schema: str) -> None:
    """Make the schema and the tables, without keys, and look there from now on."""
    name = sql.Identifier(schema)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
    # What the product sets for its own session.
    connection.execute("SET jit = off")
    connection.execute("SET work_mem = '256MB'")
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute(sql.SQL("SET search_path = {}").format(name))
    for table in STAR:
        connection.execute(statements.read(f"schema/{table.name}"))
        for column in table.bookkeeping:
            connection.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(
                    sql.Identifier(table.name), sql.Identifier(column.name)
                )
            )


def constrain(connection: psycopg.Connection[Any]) -> None:
    """Build keys and indexes, and check references, in the schema in sight."""
    for group in GROUPS:
        for name in statements.names("constraints"):
            if name.startswith(f"constraints/{group}_"):
                connection.execute(statements.read(name))


def load(
    read: Callable[[Path], Mapping[str, Any]],
    send: Callable[[psycopg.Connection[Any], Table, Any], None],
) -> None:
    """Do what the command line asks for, in one transaction: read, send table by table, constrain.

    Args:
        read: returns the rows of each table, by the table's name.
        send: hands the rows of one table to the server.
    """
    dsn, schema, data = sys.argv[1:]
    tables = read(Path(data))
    with psycopg.connect(dsn) as connection:
        make(connection, schema)
        for table in STAR:
            send(connection, table, tables[table.name])
        constrain(connection)


def insert(table: Table) -> sql.Composed:
    """Return the beginning of an INSERT into a table."""
    names = sql.SQL(", ").join(map(sql.Identifier, filled_columns(table)))
    return sql.SQL("INSERT INTO {} ({}) ").format(sql.Identifier(table.name), names)


def copy(table: Table, form: str) -> sql.Composed:
    """Return a COPY into a table."""
    names = sql.SQL(", ").join(map(sql.Identifier, filled_columns(table)))
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(
        sql.Identifier(table.name), names, sql.SQL(form)
    )
