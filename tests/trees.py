"""Trees of input files, written record by record; and the star that comes out, read back."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
from psycopg import sql

from sparkify_bulk import tables

# A moment in the middle of the real data: 2018-11-15 00:30:26.796 UTC, a Thursday of ISO week 46.
MOMENT = 1_542_241_826_796


def song(number: int = 1, /, **changes: Any) -> dict[str, Any]:
    """Return a song record that has all it needs, and more or other keys."""
    return {
        "num_songs": 1,
        "song_id": f"SO{number:03}",
        "title": f"Title {number}",
        "artist_id": f"AR{number:03}",
        "artist_name": f"Artist {number}",
        "artist_location": "Utrecht",
        "artist_latitude": 52.09,
        "artist_longitude": 5.12,
        "year": 2001,
        "duration": 200.0 + number,
    } | changes


def event(item: int = 1, /, **changes: Any) -> dict[str, Any]:
    """Return a play that has all it needs, and more or other keys."""
    return {
        "page": "NextSong",
        "ts": MOMENT + item,
        "userId": "7",
        "firstName": "Ada",
        "lastName": "Byron",
        "gender": "F",
        "level": "free",
        "song": "Title 1",
        "artist": "Artist 1",
        "length": 201.0,
        "sessionId": 40,
        "itemInSession": item,
        "location": "Leiden",
        "userAgent": "Browser/1.0",
        "auth": "Logged In",
        "status": 200,
    } | changes


def lines(*records: Any) -> bytes:
    """Write records one a line; bytes stand as they are."""
    return b"\n".join(
        record if isinstance(record, bytes) else json.dumps(record).encode() for record in records
    )


class Tree:
    """A folder with `song_data/` and `log_data/` below it."""

    def __init__(self, root: Path) -> None:
        """Make the folders."""
        self.root = root
        self.song_folder = root / "song_data"
        self.log_folder = root / "log_data"
        for folder in (self.song_folder, self.log_folder):
            folder.mkdir(parents=True, exist_ok=True)

    def songs(self, path: str, *records: Any) -> Path:
        """Write a song file of these records, one a line; bytes stand as they are."""
        return _write(self.song_folder / path, lines(*records))

    def logs(self, path: str, *records: Any) -> Path:
        """Write an event log of these records, one a line; bytes stand as they are."""
        return _write(self.log_folder / path, lines(*records))

    def let_all_in(self) -> None:
        """Let any account come to the folders; pytest's own are for root alone."""
        for folder in (*self.root.parents, self.root, self.log_folder, self.song_folder):
            below = folder.is_relative_to("/tmp/pytest-of-root")  # noqa: S108
            if folder.owner() == "root" and below:
                folder.chmod(0o755)


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


Star = dict[str, list[tuple[Any, ...]]]


def read_star(dsn: str, schema: str = "sparkify", *, surrogate: bool = False) -> Star:
    """Return the five tables' rows by the contract's columns, sorted by their text.

    Args:
        dsn: the database.
        schema: the star's.
        surrogate: with `songplay_id`, which differs from run to run.
    """
    star: Star = {}
    with psycopg.connect(dsn) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("SET datestyle = 'ISO'")
        for table in tables.STAR:
            columns = [
                column.name for column in table.columns if surrogate or column.name != "songplay_id"
            ]
            query = sql.SQL("SELECT {} FROM {}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.Identifier(schema, table.name),
            )
            star[table.name] = sorted(connection.execute(query).fetchall(), key=repr)
    return star


def query(dsn: str, statement: Any, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own; return its rows, if it has any."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def drop_star(dsn: str, schema: str) -> None:
    """Drop a star with all that stands beside it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        for name in (schema, f"{schema}_build", f"{schema}_staging", f"{schema}_ledger"):
            drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE")
            connection.execute(drop.format(sql.Identifier(name)))


def load_script(name: str) -> ModuleType:
    """Import a script of `benchmarks/`, which is no package."""
    if name in sys.modules:
        return sys.modules[name]
    path = Path(__file__).parent.parent / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def slow_star(dsn: str, data: Path, schema: str = "rows") -> Star:
    """Load a tree by the independent slow loader, and return its star."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET client_min_messages = error")
        load_script("row_loader").load(connection, data, schema)
        connection.commit()
    return read_star(dsn, schema)
