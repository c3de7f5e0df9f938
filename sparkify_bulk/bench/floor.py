"""What the floor copies: the finished tables' rows, and the recipe of what is built on them."""

import contextlib
import json
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from sparkify_bulk.database.connection import Connection
from sparkify_bulk.tables import NAMES, STAR


@contextlib.contextmanager
def floor_folder() -> Iterator[Path]:
    """Make a folder that the server's account can read files in, if it knows their names."""
    with tempfile.TemporaryDirectory(prefix="sparkify-bench-") as above:
        made = Path(above, secrets.token_hex(16))
        made.mkdir()
        for path in (Path(above), made):
            path.chmod(0o711)
        yield made


def write_floor(connection: Connection, star: str, place: Path) -> None:
    """Write the finished tables' rows, and what is built on them."""
    for table in STAR:
        path = place / f"{table.name}.copy"
        statement = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(
            sql.Identifier(star, table.name)
        )
        with path.open("wb") as file, connection.cursor() as cursor:
            path.chmod(0o644)
            with cursor.copy(statement) as stream:
                for block in stream:
                    file.write(block)
    (place / "recipe.json").write_text(json.dumps(recipe_of(connection, star)))


def recipe_of(connection: Connection, star: str) -> dict[str, Any]:
    """Return the definitions of a star's indexes, and of the keys and references made of them.

    The server's own words, so that the floor builds what the product builds, whatever that is.
    """
    with connection.transaction():
        _look_at(connection, star)
        indexes = connection.execute(
            """
            SELECT r.relname, pg_get_indexdef(i.indexrelid)
            FROM pg_index AS i
            INNER JOIN pg_class AS r ON r.oid = i.indrelid
            WHERE r.relnamespace = %s::regnamespace AND r.relname = ANY (%s)
            ORDER BY pg_relation_size(i.indexrelid) DESC
            """,
            (star, list(NAMES)),
        ).fetchall()
        constraints = connection.execute(
            """
            SELECT r.relname, c.contype::text, c.conname, pg_get_constraintdef(c.oid), x.relname
            FROM pg_constraint AS c
            INNER JOIN pg_class AS r ON r.oid = c.conrelid
            LEFT JOIN pg_class AS x ON x.oid = c.conindid AND c.contype <> 'f'
            WHERE r.relnamespace = %s::regnamespace
                AND r.relname = ANY (%s)
                AND c.contype IN ('p', 'u', 'f')
            ORDER BY c.oid
            """,
            (star, list(NAMES)),
        ).fetchall()
    keys: dict[str, list[str]] = {}
    references: dict[str, list[str]] = {}
    for table, kind, name, definition, index in constraints:
        if kind == "f":
            references.setdefault(table, []).append(f'ADD CONSTRAINT "{name}" {definition}')
        else:
            words = "PRIMARY KEY" if kind == "p" else "UNIQUE"
            change = f'ADD CONSTRAINT "{name}" {words} USING INDEX "{index}"'
            keys.setdefault(table, []).append(change)
    return {
        "indexes": [
            {"table": table, "definition": definition.replace(f" ON {star}.", " ON ")}
            for table, definition in indexes
        ],
        "keys": keys,
        "references": references,
    }


def _look_at(connection: Connection, schema: str) -> None:
    connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (schema,))


def server_reads(connection: Connection, place: Path) -> bool:
    """Tell whether the server can read the floor's files: it has the right, and sees the folder."""
    statement = sql.SQL("COPY probe FROM {} (FORMAT binary)").format(
        sql.Literal(str(place / "users.copy"))
    )
    try:
        with connection.transaction():
            columns = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.type))
                for c in next(table for table in STAR if table.name == "users").all_columns
            )
            connection.execute(sql.SQL("CREATE TEMPORARY TABLE probe ({})").format(columns))
            connection.execute(statement)
            connection.execute("DROP TABLE probe")
    except psycopg.Error:
        return False
    return True
