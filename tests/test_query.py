"""The star asked by SQL of one's own: what comes out, and that nothing goes in."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from command import COMMAND, run
from servers import Server
from trees import query
from waiting import PATIENCE_SECONDS, wait_until

import sparkify_bulk
from sparkify_bulk.database.connection import Connection, connect
from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.query import answer, csv_lines, json_lines, question_text
from sparkify_bulk.statements import questions

VALUES = """
SELECT 1 AS a, 2.50::numeric AS b, 'NaN'::float8 AS c, NULL::text AS d, true AS e,
    timestamptz '2018-11-15 01:30:26.796+01' AS f, '{"k": [1,\n2]}'::json AS g,
    ARRAY[1.0, NULL] AS h, 12345678901234567890123.5 AS i, E'x"\\r\\n,y' AS j,
    timestamptz 'infinity' AS k, date '2018-11-15' AS l, E'\\\\x00ff'::bytea AS m
"""


@pytest.fixture(scope="module")
def star(server: Server, committed: Path) -> Iterator[str]:
    """Return the connection string of a database with the star of the sample data."""
    server.create("asked")
    sparkify_bulk.reload(committed, dsn=server.dsn("asked"))
    yield server.dsn("asked")
    server.drop("asked")


@pytest.fixture
def asker(star: str) -> Iterator[Connection]:
    """Open a connection such as the command has."""
    with connect(star) as opened:
        yield opened


def ask(connection: Connection, text: str) -> list[tuple[str, ...]]:
    """Return the rows of a query, their values as text."""
    with answer(connection, "sparkify", text, "csv") as found:
        return list(found.rows)


# --- what comes out -------------------------------------------------------------------------------


def test_plain_names_are_the_stars(asker: Connection, star: str) -> None:
    """A table in `public` is not seen, nor a function there that stands in for a built-in one."""
    query(star, "CREATE TABLE IF NOT EXISTS public.mine (x int)")
    assert ask(asker, "SELECT count(*) FROM songplays;") == [("2110",)]
    with pytest.raises(SparkifyBulkError, match='"mine" does not exist'):
        ask(asker, "SELECT * FROM mine")


@pytest.mark.parametrize(
    "text",
    ["TABLE users", "VALUES (1)", "WITH a AS (TABLE users) SELECT * FROM a", "SELECT 1 -- so"],
)
def test_whatever_selects_is_answered(asker: Connection, text: str) -> None:
    """SELECT, WITH, VALUES and TABLE, with a comment or a semicolon behind."""
    assert ask(asker, text)
    assert ask(asker, f"{text}\n;\n")


def test_csv_has_each_value_as_others_read_it(asker: Connection) -> None:
    """RFC 4180, NULL empty, moments ISO 8601 in UTC, all digits of numbers."""
    with answer(asker, "sparkify", VALUES, "csv") as found:
        text = b"".join(csv_lines(found)).decode()
    head, row = csv.reader(text.splitlines(keepends=True))
    assert text.endswith("\r\n")
    assert dict(zip(head, row, strict=True)) == {
        "a": "1", "b": "2.50", "c": "NaN", "d": "", "e": "true",
        "f": "2018-11-15T00:30:26.796+00:00", "g": '{"k": [1,\n2]}', "h": "{1.0,NULL}",
        "i": "12345678901234567890123.5", "j": 'x"\r\n,y', "k": "infinity", "l": "2018-11-15",
        "m": r"\x00ff",
    }  # fmt: skip


def test_json_has_each_value_as_its_own_kind(asker: Connection) -> None:
    """One object a line; JSON and arrays are themselves, numbers keep their digits."""
    with answer(asker, "sparkify", VALUES, "json") as found:
        (line,) = json_lines(found)
    assert line.count(b"\n") == 1
    assert b'"i":12345678901234567890123.5,' in line
    found_values = json.loads(line)
    del found_values["i"]
    assert found_values == {
        "a": 1, "b": 2.5, "c": "NaN", "d": None, "e": True, "f": "2018-11-15T00:30:26.796+00:00",
        "g": {"k": [1, 2]}, "h": [1.0, None], "j": 'x"\r\n,y', "k": "infinity", "l": "2018-11-15",
        "m": r"\x00ff",
    }  # fmt: skip


def test_columns_of_one_name_are_refused_only_where_one_would_be_lost(asker: Connection) -> None:
    """An object keeps one of them; CSV keeps both."""
    text = "SELECT 1 AS x, 2 AS x"
    with (
        answer(asker, "sparkify", text, "json") as found,
        pytest.raises(SparkifyBulkError, match="more than one column is named x"),
    ):
        list(json_lines(found))
    with answer(asker, "sparkify", text, "csv") as found:
        assert b"".join(csv_lines(found)) == b"x,x\r\n1,2\r\n"


def test_rows_come_as_they_are_read(asker: Connection) -> None:
    """Rows without end begin to come at once, and the rest is never made."""
    asker.execute("SET statement_timeout = '60s'")
    text = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
    with answer(asker, "sparkify", text, "csv") as found:
        rows = [next(found.rows) for _ in range(2500)]
    assert rows[-1] == ("2500",)


def test_control_characters_stay_off_terminals(asker: Connection) -> None:
    """In cells, names and JSON strings alike; elsewhere they are data."""
    text = r"""SELECT E'\x1b[31m\u009b' AS "a\u0007" """.replace(r"\u0007", "\x07")
    for shape, lines in (("csv", csv_lines), ("json", json_lines)):
        with answer(asker, "sparkify", text, shape) as found:
            shown = b"".join(lines(found, terminal=True)).decode()
        assert all(c.isprintable() or c in "\r\n" for c in shown), shape
        assert "[31m" in shown
    with answer(asker, "sparkify", text, "csv") as found:
        assert "\x1b[31m\x9b" in b"".join(csv_lines(found)).decode()


def test_a_table_holds_no_control_characters(star: str) -> None:
    """Neither in cells nor in names; nor does an error that names columns."""
    shown = run("query", "SELECT E'\\x1b[31m\\u009b' AS \"a\x07\"", "--dsn", star).stdout
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "[31m" in shown
    twice = 'SELECT 1 AS "a\x07", 2 AS "a\x07"'
    done = run("query", twice, "--dsn", star, "--json")
    assert "more than one column is named a\\x07" in done.stderr


# --- nothing goes in ------------------------------------------------------------------------------

# Where a program of the server's would write.
STOLEN = Path("/tmp/sparkify-stolen")  # noqa: S108 - the server's account can write there
WRITES = {
    "two statements": "SELECT 1; SELECT 2",
    "an end of the transaction": "COMMIT; DROP TABLE sparkify.songplays",
    "an end after a query": "SELECT 1; COMMIT; DROP TABLE sparkify.songplays",
    "an end alone": "COMMIT",
    "a drop": "DROP TABLE songplays",
    "an insert": "INSERT INTO songplays SELECT * FROM songplays",
    "an insert that returns": "DELETE FROM songplays RETURNING *",
    "a CTE that deletes": "WITH gone AS (DELETE FROM songplays RETURNING *) SELECT * FROM gone",
    "a new table": "SELECT * INTO sparkify.stolen FROM songplays",
    "locks on rows": "SELECT * FROM songplays FOR UPDATE",
    "a program": f"COPY songplays TO PROGRAM 'cat > {STOLEN}'",
    "a file": f"COPY songplays TO '{STOLEN}'",
    "a copy": "COPY songplays TO STDOUT",
    "a block": "DO $$ BEGIN EXECUTE 'DROP TABLE sparkify.songplays'; END $$",
    "writing switched on": "SELECT set_config('transaction_read_only', 'off', true)",
    "writing switched on for later": "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "a plan that runs": "EXPLAIN ANALYZE DELETE FROM songplays",
    "the next number": "SELECT nextval('asked_numbers')",
    "a function that writes": "SELECT asked_writes()",
    "SQL as a value": "SELECT query_to_xml('DROP TABLE sparkify.songplays', true, true, '')",
}


@pytest.mark.parametrize("text", WRITES.values(), ids=WRITES)
def test_what_writes_is_refused(star: str, asker: Connection, text: str) -> None:
    """By a superuser too, who could do all of this elsewhere."""
    query(star, "CREATE SEQUENCE IF NOT EXISTS sparkify.asked_numbers")
    query(
        star,
        "CREATE OR REPLACE FUNCTION sparkify.asked_writes() RETURNS int LANGUAGE sql AS "
        "'DELETE FROM sparkify.songplays; SELECT 1'",
    )
    with pytest.raises(SparkifyBulkError) as caught:
        ask(asker, text)
    assert caught.value.exit_code == 1
    assert query(star, "SELECT count(*) FROM sparkify.songplays") == [(2110,)]
    assert query(star, "SELECT to_regclass('sparkify.stolen')") == [(None,)]
    assert not STOLEN.exists()
    # The connection is as it was.
    assert ask(asker, "SELECT current_setting('transaction_read_only')") == [("on",)]
    assert asker.execute("SHOW default_transaction_read_only").fetchone() == ("off",)


def test_what_a_function_leaves_in_the_transaction_is_rolled_back(
    star: str, asker: Connection
) -> None:
    """A setting of the session is; so is a large object, which servers before 16 let it make."""
    assert ask(asker, "SELECT set_config('application_name', 'left', false)") == [("left",)]
    assert asker.execute("SHOW application_name").fetchone() == ("sparkify_bulk",)
    if asker.info.server_version >= 160000:
        with pytest.raises(SparkifyBulkError, match="read-only"):
            ask(asker, "SELECT lo_create(4711)")
    else:
        ask(asker, "SELECT lo_create(4711)")
    assert query(star, "SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "SELECT *\nFROM songplays\nWHERE  nam = 1",
            ['column "nam" does not exist', "line 3: WHERE  nam = 1", "               ^"],
        ),
        (
            "SELECT '東京', nam FROM users",
            [
                'column "nam" does not exist',
                "line 1: SELECT '東京', nam FROM users",
                " " * 23 + "^",
            ],
        ),
        (
            f"SELECT {'1, ' * 50}nam",
            [
                'column "nam" does not exist',
                f"line 1: …{', 1' * 16}, nam",
                " " * 59 + "^",
            ],
        ),
        (
            "SELECT '\x1b', nam FROM users",
            [
                'column "nam" does not exist',
                "line 1: SELECT ' ', nam FROM users",
                " " * 20 + "^",
            ],
        ),
        ("SELECT 1/0", ["division by zero"]),
        ("SELECT 1/(n - 2500) FROM generate_series(1, 3000) AS n", ["division by zero"]),
        (
            "SELECT E'\\x1b[31m'::int",
            ['invalid input syntax for type integer: "\\x1b[31m"',
             "line 1: SELECT E'\\x1b[31m'::int", "               ^"],
        ),
    ],
)  # fmt: skip
def test_errors_show_where(asker: Connection, text: str, lines: list[str]) -> None:
    """The server's message, the line, and a caret below the place."""
    with pytest.raises(SparkifyBulkError) as caught:
        ask(asker, text)
    assert caught.value.message.split("\n") == lines


def test_a_hint_holds_no_control_characters(asker: Connection) -> None:
    """The server's may name what somebody named."""
    with pytest.raises(SparkifyBulkError) as caught:
        ask(asker, 'SELECT "nam\x1b" FROM (SELECT 1 AS "nam\x1be") AS c')
    assert "nam\\x1be" in caught.value.hint


def test_no_star_is_said_so(database: str) -> None:
    """As by every other command."""
    with (
        connect(database) as empty,
        pytest.raises(SparkifyBulkError, match="there is no star in the schema sparkify"),
    ):
        ask(empty, "SELECT 1")


@pytest.mark.parametrize("text", ["", " \n", "SELECT 1\0; DROP TABLE songplays"])
def test_no_text_is_wrong_usage(asker: Connection, text: str) -> None:
    """Nothing, or what the driver would cut short."""
    with pytest.raises(UsageError, match="no SQL"):
        ask(asker, text)


# --- the command ----------------------------------------------------------------------------------

LEVELS = "SELECT level, count(*) AS plays FROM songplays GROUP BY level ORDER BY level"


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (["--format", "csv"], "level,plays\r\nfree,1303\r\npaid,807\r\n"),
        (["--format", "csv", "--limit", "1"], "level,plays\r\nfree,1303\r\n"),
        (["--format", "csv", "--limit", "0"], "level,plays\r\n"),
        (["--json"], '{"level":"free","plays":1303}\n{"level":"paid","plays":807}\n'),
        (["--format", "json", "--json", "--limit", "1"], '{"level":"free","plays":1303}\n'),
    ],
)
def test_query_prints_rows(star: str, options: list[str], printed: str) -> None:
    """As CSV or JSON, all of them or so many; nothing else is on stdout."""
    done = run("query", LEVELS, "--dsn", star, *options)
    assert (done.stdout, done.stderr) == (printed, "")


def test_what_is_typed_comes_before_the_environment(star: str) -> None:
    """Whichever of --json and --format that is."""
    words = ("query", "SELECT 1 AS x", "--dsn", star)
    assert run(*words, "--format", "csv", SPARKIFY_BULK_JSON="1").stdout.split() == ["x", "1"]
    assert run(*words, "--json", SPARKIFY_BULK_QUERY_FORMAT="csv").stdout == '{"x":1}\n'
    assert run(*words, SPARKIFY_BULK_JSON="1").stdout == '{"x":1}\n'


def test_query_prints_a_table(star: str) -> None:
    """Numbers stand right, years without a comma; what is left out is said on stderr."""
    shown = run("query", "SELECT 'a' AS \"[red]x\", 1966 AS year", "--dsn", star).stdout
    assert [line.split() for line in shown.splitlines() if line.strip()] == [
        ["[red]x", "year"], ["─" * 12], ["a", "1966"],
    ]  # fmt: skip
    done = run("query", "TABLE songplays", "--dsn", star, "--limit", "7")
    assert "Only the first 7 rows" in done.stderr
    assert "Only" not in run("query", LEVELS, "--dsn", star, "--limit", "2").stderr
    many = run("query", "SELECT n FROM generate_series(1, 101) AS n", "--dsn", star)
    assert "Only the first 100 rows" in many.stderr
    assert many.stdout.splitlines()[-1] == "100"
    assert " 101 " not in many.stdout


def test_query_reads_stdin_and_files(star: str, tmp_path: Path) -> None:
    """The SQL may come through a pipe or from a file, whatever marks its beginning."""
    file = tmp_path / "levels.sql"
    file.write_text(LEVELS, encoding="utf-8-sig")
    words = [COMMAND, "query", "--dsn", star, "--json"]
    expected = b'{"level":"free","plays":1303}\n{"level":"paid","plays":807}\n'
    with file.open("rb") as pipe:
        piped = subprocess.run([*words, "-"], check=True, capture_output=True, stdin=pipe)
    assert piped.stdout == expected
    named = run("query", "--dsn", star, "--json", "--file", file)
    assert named.stdout.encode() == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "No SQL given. Pass it as an argument, with --file FILE, or - for standard input."),
        (("SELECT 1", "--file", "x.sql"), "mutually exclusive"),
        (("--file", "/no/such.sql"), "No such file"),
        (("--file", sys.executable), "not UTF-8"),
        (("SELECT 1", "--json", "--format", "csv"), "mutually exclusive"),
        (("SELECT 1", "--schema", "public"), "--schema"),
    ],
)
def test_wrong_queries_exit_2(arguments: tuple[str, ...], said: str) -> None:
    """Before any server is asked."""
    done = run("query", *arguments, SPARKIFY_BULK_DSN="host=/nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_query_shows_the_servers_error(star: str) -> None:
    """With its place, on stderr; exit 1."""
    done = run("query", "SELECT nam FROM users", "--dsn", star)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[:3] == [
        'Error: column "nam" does not exist',
        "line 1: SELECT nam FROM users",
        "               ^",
    ]


@pytest.mark.parametrize("shape", ["csv", "json"])
def test_a_reader_that_leaves_ends_a_query_quietly(star: str, shape: str) -> None:
    """As `| head` does: not a word on stderr."""
    text = "SELECT n FROM generate_series(1, 1000000) AS n"
    with subprocess.Popen(
        [COMMAND, "query", text, "--dsn", star, "--format", shape],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_ctrl_c_cancels_the_query_on_the_server(star: str) -> None:
    """The statement doesn't go on without anybody who waits for it."""
    process = subprocess.Popen(
        [COMMAND, "query", "SELECT pg_sleep(600)", "--dsn", star], stderr=subprocess.PIPE
    )
    active = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sparkify_bulk' "
        "AND datname = current_database() AND wait_event = 'PgSleep'"
    )
    with psycopg.connect(star, autocommit=True) as watcher:
        wait_until(
            lambda: process.poll() is not None or watcher.execute(active).fetchone() == (1,),
            "the query doesn't begin",
        )
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130
        assert watcher.execute(active).fetchone() == (0,)


# --- the questions, from Python -------------------------------------------------------------------


def test_ask_returns_frames(star: str) -> None:
    """Every question is answered by a frame whose columns have their types, empty or not."""
    frames = {question: sparkify_bulk.ask(question, dsn=star) for question in questions()}
    assert all(frame.height for frame in frames.values())
    paid = frames["free_against_paid"]
    assert paid.schema == {
        "level": pl.String, "plays": pl.Int64, "users": pl.Int64, "plays_a_user": pl.Float64,
    }  # fmt: skip
    assert paid["plays"].sum() == 2110
    assert frames["plays_by_hour"].schema["hour"] == pl.Int16


def test_ask_knows_types_where_there_are_no_rows(star: str, database: str) -> None:
    """An empty star has answers of the same columns."""
    with psycopg.connect(database, autocommit=True) as opened:
        opened.execute(run("schema").stdout.encode())
    for question in questions():
        empty = sparkify_bulk.ask(question, dsn=database)
        assert empty.is_empty()
        assert empty.schema == sparkify_bulk.ask(question, dsn=star).schema


FRAME_VALUES = {
    "true": (pl.Boolean(), True),
    "7::int2": (pl.Int16(), 7),
    "7::oid": (pl.UInt32(), 7),
    "0.5::float4": (pl.Float32(), 0.5),
    "2.50::numeric": (pl.Float64(), 2.5),
    "date '2018-11-15'": (pl.Date(), date(2018, 11, 15)),
    "time '01:30:26.796'": (pl.Time(), time(1, 30, 26, 796_000)),
    "interval '1 day 2 hours'": (pl.Duration("us"), timedelta(days=1, hours=2)),
    "timestamp '2018-11-15 01:30'": (pl.Datetime("us"), datetime(2018, 11, 15, 1, 30)),  # noqa: DTZ001
    "timestamptz '2018-11-15 01:30+01'": (
        pl.Datetime("us", "UTC"), datetime(2018, 11, 15, 0, 30, tzinfo=UTC),
    ),
    "E'\\\\x00ff'::bytea": (pl.Binary(), b"\0\xff"),
    "'a'::varchar(3)": (pl.String(), "a"),
    "'a'::name": (pl.String(), "a"),
    "'00000000-0000-0000-0000-00000000000a'::uuid": (
        pl.String(), "00000000-0000-0000-0000-00000000000a",
    ),
    "'{\"k\":  [1]}'::json": (pl.String(), '{"k":  [1]}'),
    "'{\"k\": [1]}'::jsonb": (pl.String(), '{"k": [1]}'),
    "'127.0.0.1'::inet": (pl.String(), "127.0.0.1"),
    "int4range(1, 3)": (pl.String(), "[1,3)"),
    "'01:30+01'::timetz": (pl.String(), "01:30:00+01"),
    "ROW(1, 'a')": (pl.String(), "(1,a)"),
    "ARRAY[1, NULL]": (pl.List(pl.Int32()), [1, None]),
    "ARRAY['a']": (pl.List(pl.String()), ["a"]),
    "ARRAY[date '2018-11-15']": (pl.List(pl.Date()), [date(2018, 11, 15)]),
    "ARRAY['{}'::json]": (pl.List(pl.String()), ["{}"]),
    "'{}'::int[]": (pl.List(pl.Int32()), []),
    "ARRAY[[1, 2], [3, 4]]": (pl.List(pl.List(pl.Int32())), [[1, 2], [3, 4]]),
}  # fmt: skip


@pytest.fixture
def question(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes a question of a text."""

    def ask_for(text: str) -> None:
        monkeypatch.setattr("sparkify_bulk.query.question_text", lambda _: text)

    return ask_for


@pytest.mark.parametrize("empty", [False, True], ids=["rows", "none"])
def test_ask_has_a_type_for_every_value(
    star: str, question: Callable[[str], None], empty: bool
) -> None:
    """A value is what it is on the server, or its text; with NULL beside it, or without any row."""
    columns = ", ".join(f"{text} AS c{number}" for number, text in enumerate(FRAME_VALUES))
    nulls = ", ".join(["NULL"] * len(FRAME_VALUES))
    question(f"SELECT {columns} UNION ALL SELECT {nulls}" + " LIMIT 0" * empty)
    frame = sparkify_bulk.ask("so", dsn=star)
    expected = {f"c{number}": value for number, value in enumerate(FRAME_VALUES.values())}
    if empty:
        deep = {name for name, (kind, _) in expected.items() if kind == pl.List(pl.List(pl.Int32))}
        expected = {name: value for name, value in expected.items() if name not in deep}
        assert frame.drop(deep).schema == {name: kind for name, (kind, _) in expected.items()}
        return
    assert frame.schema == {name: kind for name, (kind, _) in expected.items()}
    assert frame.row(0, named=True) == {name: value for name, (_, value) in expected.items()}
    assert set(frame.row(1)) == {None}


@pytest.mark.parametrize(
    "text", ["timestamptz 'infinity'", "date '20000-01-01'", "interval '1 month'"]
)
def test_ask_says_what_no_frame_can_hold(
    star: str, question: Callable[[str], None], text: str
) -> None:
    """A moment beyond all calendars, and a span that has no length, are named, with what to do."""
    question(f"SELECT {text} AS x")
    with pytest.raises(SparkifyBulkError) as caught:
        sparkify_bulk.ask("so", dsn=star)
    assert caught.value.message.strip(" .") not in ("", "DataError")
    assert "column::text" in caught.value.hint
    question(f"SELECT ({text})::text AS x")
    assert sparkify_bulk.ask("so", dsn=star).schema == {"x": pl.String}


def test_ask_refuses_what_is_no_question(star: str) -> None:
    """And names those that there are."""
    with pytest.raises(UsageError, match="most_played_songs"):
        sparkify_bulk.ask("nothing", dsn=star)
    assert question_text("most_played_songs").startswith("-- Most played songs\n")
