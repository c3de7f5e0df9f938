"""The floor: the server alone copies the finished tables, and builds the same keys and indexes.

    python floor.py DSN SCHEMA FOLDER [--stdin]

FOLDER holds what the benchmark wrote beforehand, untimed: the rows of each finished table as binary
COPY, and `recipe.json` with the definitions of its keys, indexes and references. Nothing is parsed,
typed, matched or looked up here, and what can run side by side does. With `--stdin` the server
can't read the folder, and is sent the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.tables import NAMES, SONGPLAYS

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 2**20


def main() -> None:
    """Read the command line, and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dsn")
    parser.add_argument("schema")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stdin", action="store_true")
    Floor(**vars(parser.parse_args())).build()


class Floor:
    """A star in the making."""

    def __init__(self, dsn: str, schema: str, folder: Path, *, stdin: bool) -> None:
        """Read the recipe."""
        self._dsn = dsn
        self._schema = sql.Identifier(schema)
        self._folder = folder
        self._stdin = stdin
        self._recipe = json.loads((folder / "recipe.json").read_text())

    def build(self) -> None:
        """Copy the largest table first, then build its indexes, then what needs all tables."""
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(self._schema))
        with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
            _wait(pool.map(self._copy, sorted(NAMES, key=self._size, reverse=True)))
            _wait(pool.map(self._index, self._recipe["indexes"]))
            _wait(pool.map(self._adopt, self._recipe["keys"].items()))
            # Both sides of a reference are locked: they are checked one after another.
            for table, references in self._recipe["references"].items():
                for reference in references:
                    self._refer(table, reference)
        with self._connect() as connection:
            # The rows came with their numbers: the next one must not come again.
            connection.execute(
                "SELECT setval(pg_get_serial_sequence('songplays', 'songplay_id'),"
                " max(songplay_id)) FROM songplays"
            )

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._dsn, autocommit=True)
        connection.execute("SET jit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SET work_mem = '256MB'")
        # Indexes are built side by side: there is a processor for each already.
        workers = str((os.cpu_count() or 1) // 3)
        connection.execute(
            "SELECT set_config('max_parallel_maintenance_workers', %s, false)", (workers,)
        )
        connection.execute(sql.SQL("SET search_path = {}").format(self._schema))
        return connection

    def _file(self, table: str) -> Path:
        return self._folder / f"{table}.copy"

    def _size(self, table: str) -> int:
        return self._file(table).stat().st_size

    def _copy(self, table: str) -> None:
        """Make a table and fill it in one transaction: a server may then log less of it.

        And its rows may be frozen at once, which spares whoever reads them next a look-up each.
        """
        name = sql.Identifier(table)
        with self._connect() as connection, connection.transaction():
            connection.execute(statements.read(f"schema/{table}"))
            if self._stdin:
                self._send(connection, name, table)
            else:
                path = sql.Literal(str(self._file(table)))
                connection.execute(
                    sql.SQL("COPY {} FROM {} (FORMAT binary, FREEZE)").format(name, path)
                )
            if table != SONGPLAYS.name:
                for index in self._recipe["indexes"]:
                    if index["table"] == table:
                        connection.execute(index["definition"])

    def _send(self, connection: psycopg.Connection[Any], name: sql.Identifier, table: str) -> None:
        statement = sql.SQL("COPY {} FROM STDIN (FORMAT binary, FREEZE)").format(name)
        with (
            self._file(table).open("rb") as file,
            connection.cursor() as cursor,
            cursor.copy(statement) as stream,
        ):
            while block := file.read(BLOCK):
                stream.write(block)

    def _index(self, index: dict[str, str]) -> None:
        if index["table"] == SONGPLAYS.name:
            with self._connect() as connection:
                connection.execute(index["definition"])

    def _refer(self, table: str, reference: str) -> None:
        """Check a reference; to `time` it takes half as long to go through two indexes in order."""
        with self._connect() as connection:
            if "(start_time)" in reference:
                connection.execute("SET enable_hashjoin = off")
            self._change(connection, table, [reference])

    def _adopt(self, keys: tuple[str, list[str]]) -> None:
        self._alter(*keys)

    def _alter(self, table: str, changes: list[str]) -> None:
        with self._connect() as connection:
            self._change(connection, table, changes)

    def _change(self, connection: psycopg.Connection[Any], table: str, changes: list[str]) -> None:
        connection.execute(
            sql.SQL("ALTER TABLE {} {}").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.SQL, changes))
            )
        )


def _wait(results: Iterable[None]) -> None:
    """Wait for all; raise the first error."""
    for _ in results:
        pass


if __name__ == "__main__":
    main()
