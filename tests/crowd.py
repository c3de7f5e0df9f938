"""Readers of a star that go on while it is switched: tables, views, and views of views."""

import itertools
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
from psycopg import sql

VIEWS = (
    """CREATE VIEW {schema}.plays AS
        SELECT songplay_id, start_time, user_id, song_id FROM {schema}.songplays""",
    """CREATE VIEW {schema}.named AS SELECT p.songplay_id, u.last_name, u.level
        FROM {schema}.users AS u JOIN {schema}.songplays AS p USING (user_id)""",
    """CREATE VIEW public.titled AS SELECT p.songplay_id, s.title
        FROM {schema}.plays AS p LEFT JOIN {schema}.songs AS s USING (song_id)""",
    """CREATE VIEW public.both AS SELECT n.last_name, t.title
        FROM public.titled AS t JOIN {schema}.named AS n USING (songplay_id)""",
    """CREATE VIEW public.hours AS SELECT t.hour, count(*) AS plays, count(b.title) AS titles
        FROM {schema}.time AS t JOIN {schema}.plays AS p USING (start_time)
        LEFT JOIN public.titled AS b USING (songplay_id) GROUP BY t.hour""",
)
# Each as often as the others, in both orders where there are two.
READS = (
    "SELECT count(*) FROM {schema}.songplays",
    "SELECT count(*) FROM {schema}.songs AS s JOIN {schema}.songplays AS p USING (song_id)",
    "SELECT count(*) FROM {schema}.songplays AS p JOIN {schema}.songs AS s USING (song_id)",
    "SELECT count(*) FROM {schema}.artists JOIN {schema}.songs USING (artist_id)",
    "SELECT count(*) FROM {schema}.plays",
    "SELECT count(*) FROM {schema}.users JOIN {schema}.named USING (level)",
    "SELECT count(*) FROM {schema}.named JOIN public.titled USING (songplay_id)",
    "SELECT count(*) FROM public.titled JOIN {schema}.time ON true",
    "SELECT count(*) FROM public.both",
    "SELECT count(*) FROM public.hours JOIN {schema}.plays ON true",
)


@dataclass
class Crowd:
    """Readers, each over a connection of its own, that read without a pause until told to end.

    Attributes:
        dsn: the database.
        readers: how many.
        seconds: how long each read holds what it reads.
        reads: what they read, in turn.
        done: how many reads ended well.
        failures: what the others ended with, by SQLSTATE.
    """

    dsn: str
    readers: int = 6
    seconds: float = 0.0
    reads: tuple[str, ...] = READS
    schema: str = "sparkify"
    done: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    _threads: list[threading.Thread] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make_views(self) -> None:
        """Make the views that the reads name."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for view in VIEWS:
                connection.execute(self._named(view))

    def __enter__(self) -> Self:
        """Let them begin; return when each has read once."""
        begun = threading.Barrier(self.readers + 1)
        for number in range(self.readers):
            thread = threading.Thread(target=self._read, args=(number, begun), daemon=True)
            self._threads.append(thread)
            thread.start()
        begun.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        """Let them end."""
        self._ends.set()
        for thread in self._threads:
            thread.join(60)

    def _named(self, statement: str) -> sql.Composed:
        return sql.SQL(statement).format(schema=sql.Identifier(self.schema))  # type: ignore[arg-type]

    def _read(self, number: int, begun: threading.Barrier) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            begun.wait(60)
            for turn in itertools.count(number):
                if self._ends.is_set():
                    return
                error = self._read_once(connection, self.reads[turn % len(self.reads)])
                with self._lock:
                    if error:
                        self.failures[error] += 1
                    else:
                        self.done += 1

    def _read_once(self, connection: psycopg.Connection[Any], statement: str) -> str:
        read = self._named(statement)
        if self.seconds:
            read = sql.SQL("SELECT r.*, pg_sleep({}) FROM ({}) AS r").format(self.seconds, read)
        try:
            connection.execute(read)
        except psycopg.Error as error:
            return f"{error.sqlstate}: {error}"
        return ""
