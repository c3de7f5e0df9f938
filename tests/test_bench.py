"""The benchmark command: a fair comparison, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from command import COMMAND
from waiting import wait_until

from sparkify_bulk.bench import comparison, contenders, contest, equality, measure
from sparkify_bulk.bench.contenders import BenchError, Contender
from sparkify_bulk.bench.ground import Ground, _for_contenders, open_ground
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.errors import UsageError

FIRST_SET = {
    "row-by-row-autocommit", "row-by-row", "executemany", "insert-values", "insert-unnest",
    "copy-write-row", "copy-csv", "adbc", "copy-binary", "sparkify-bulk", "floor",
}  # fmt: skip


def schemas(connection: Connection) -> list[str]:
    """Return the schemas that somebody made."""
    query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"
    return [name for (name,) in connection.execute(query)]


@pytest.fixture
def ground(database: str, committed: Path) -> Iterator[Ground]:
    """Open a ground with the repository's sample."""
    with open_ground(database, committed) as opened:
        yield opened


def script(folder: Path, body: str) -> Contender:
    """Make a contender that does something else than it should."""
    path = folder / "wrong.py"
    path.write_text(body)
    return Contender("wrong", "Another one.", path)


def copied(ground: Ground, *changes: str) -> str:
    """Return a script that takes the product's star as its own, with changes."""
    floor = contenders.contenders()["floor"].script
    return (
        "import runpy, sys, psycopg\n"
        "dsn, schema, data = sys.argv[1:]\n"
        f"sys.argv[3:] = [{str(ground.floor)!r}, '--stdin']\n"
        f"runpy.run_path({str(floor)!r}, run_name='__main__')\n"
        "with psycopg.connect(dsn) as connection:\n"
        "    connection.execute(f'SET search_path = {schema}')\n"
        + "".join(f"    connection.execute({change!r})\n" for change in changes)
    )


# --- end to end -----------------------------------------------------------------------------------


@pytest.mark.full
def test_the_command_compares_all_contenders(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    """All contenders end in the same star, each is timed in every round, and no schema stays."""
    names = [word for name in sorted(FIRST_SET) for word in ("--contender", name)]
    done = subprocess.run(
        [
            COMMAND, "bench", "--dsn", database, "--events", "400", "--songs", "40",
            "--rounds", "2", "--output", str(tmp_path / "out"), *names,
        ],
        check=False,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "copy-write-row" in done.stdout
    document = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {c["name"] for c in document["contenders"]} == FIRST_SET
    for contender in document["contenders"]:
        assert "error" not in contender, contender
        assert [time["round"] for time in contender["rounds"]] == [1, 2]
        seconds = [time["seconds"] for time in contender["rounds"]]
        assert contender["min_seconds"] == min(seconds) > 0
        assert contender["median_seconds"] == pytest.approx(sum(seconds) / 2)
        assert contender["client_cpu_seconds"] > 0
        assert contender["server_cpu_seconds"] >= 0
        assert contender["peak_rss_bytes"] > 10**7
    floor = next(c for c in document["contenders"] if c["name"] == "floor")
    assert floor["ratio_to_floor"] == 1
    assert document["data"]["events_records"] == 400
    assert document["data"]["songs_files"] == 40
    assert document["server"]["settings"]["fsync"] == "off"
    assert (tmp_path / "out" / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "out" / "bench.svg").read_text()
    assert schemas(connection) == []


def test_json_is_alone_on_stdout_and_own_data_is_taken(
    database: str, committed: Path, tmp_path: Path
) -> None:
    """With --json, stdout is the document that bench.json holds; DATA may be the user's own."""
    done = subprocess.run(
        [COMMAND, "bench", str(committed), "--json", "--contender", "copy-csv"],
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "SPARKIFY_BULK_DSN": database,
            "SPARKIFY_BULK_BENCH_ROUNDS": "1",
            "SPARKIFY_BULK_BENCH_OUTPUT": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "bench.json").read_text())
    assert document["rounds"] == 1
    assert document["data"]["generated_with_seed"] is None
    assert document["data"]["rows"]["songplays"] == 2110
    assert document["contenders"][0]["ratio_to_floor"] is None


@pytest.mark.full
def test_a_live_star_is_left_alone(
    database: str, connection: Connection, committed: Path, tmp_path: Path
) -> None:
    """The star that is there, its ledger included, is the same before and after."""
    subprocess.run([COMMAND, "reload", str(committed), "--dsn", database, "--quiet"], check=True)
    query = "SELECT oid, relname, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY oid"
    before = connection.execute(query).fetchall()
    subprocess.run(
        [
            COMMAND, "bench", "--dsn", database, "--events", "100", "--songs", "10", "--rounds",
            "1", "--contender", "sparkify-bulk", "--output", str(tmp_path), "--quiet",
        ],
        check=True,
    )  # fmt: skip
    assert connection.execute(query).fetchall() == before


@pytest.mark.every(2)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_no_schema_and_no_process(
    database: str, connection: Connection, tmp_path: Path, number: int, code: int
) -> None:
    """Stopped while a contender loads, the command ends it, drops every schema, and says so."""
    process = subprocess.Popen(
        [
            COMMAND, "bench", "--dsn", database, "--events", "60000", "--songs", "100",
            "--contender", "row-by-row-autocommit", "--output", str(tmp_path),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    loading = """
        SELECT pid FROM pg_stat_activity
        WHERE application_name ~ '^sparkify_bench_' AND query ~ 'INSERT INTO songplays'
    """
    wait_until(
        lambda: process.poll() is not None or connection.execute(loading).fetchone(),
        "no contender loads",
    )
    assert process.poll() is None, process.stderr and process.stderr.read()
    process.send_signal(number)
    assert process.wait(60) == code
    assert process.stderr is not None
    assert "Interrupted" in process.stderr.read()
    process.stderr.close()
    assert schemas(connection) == []
    assert connection.execute(loading).fetchone() is None


# --- equality -------------------------------------------------------------------------------------


@pytest.mark.every(4)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM songplays WHERE songplay_id = 1", "songplays: 1 rows missing"),
        ("UPDATE users SET level = 'none' WHERE user_id = (SELECT min(user_id) FROM users)",
         "users: 1 rows missing"),
        ("INSERT INTO artists SELECT 'AR', 'x', NULL, NULL, NULL, '', 0",
         "artists: 1 rows too many, such as (AR,x,,,)"),
        ("UPDATE songs SET year = 1 WHERE song_id = (SELECT min(song_id) FROM songs)", "songs: 1"),
        ("UPDATE time SET weekday = 9", "time: "),
        ("ALTER TABLE songplays DROP COLUMN location", "songplays: column"),
        ("DROP TABLE songplays", "songplays: relation"),
        ("ALTER TABLE songplays DROP CONSTRAINT songplays_user_id_fkey", "no songplays: FOREIGN"),
        ("DROP INDEX songs_duration", "no songs: USING btree (duration)"),
        ("CREATE INDEX ON users (gender)", "users: USING btree (gender) is none of the product's"),
    ],
)  # fmt: skip
def test_a_contender_with_another_star_has_no_time(
    ground: Ground, tmp_path: Path, change: str, said: str
) -> None:
    """A row, a value, a column, a key or an index that differs is a failure that names it."""
    with pytest.raises(BenchError) as error:
        contest.compete(ground, script(tmp_path, copied(ground, change)))
    assert said in error.value.message


def test_the_surrogate_key_may_differ(ground: Ground, tmp_path: Path) -> None:
    """Stars that differ in songplay_id alone are equal."""
    change = "UPDATE songplays SET songplay_id = songplay_id + 1000000"
    assert contest.compete(ground, script(tmp_path, copied(ground, change))).seconds > 0


def test_a_contender_that_fails_says_why(ground: Ground, tmp_path: Path) -> None:
    """A script that ends with an error is a failure with its last words, not a time."""
    with pytest.raises(BenchError, match="wrong failed with code 1: ValueError: no such luck"):
        contest.compete(ground, script(tmp_path, "raise ValueError('no such luck')"))


def test_one_failure_does_not_end_the_comparison(
    database: str, committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are timed; who failed has an error and no times."""
    wrong = script(tmp_path, "raise SystemExit('no')")
    floor = contenders.contenders()["floor"]
    monkeypatch.setattr(contenders, "contenders", lambda: {"wrong": wrong, "floor": floor})
    sizes = comparison.Sizes(0, 0, 0)
    document = comparison.bench(
        database, committed, sizes=sizes, rounds=1, names=["wrong", "floor"]
    )
    failed, timed = document["contenders"]
    assert (failed["median_seconds"], failed["rounds"]) == (None, [])
    assert failed["error"] == "wrong failed with code 1: no"
    assert timed["median_seconds"] > 0


# --- the floor ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", [True, False])
def test_the_floor_is_the_finished_star(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    """The floor ends in the product's star, whether the server reads the files or is sent them."""
    assert ground.floor_reads
    ground.floor_reads = reads
    monkeypatch.setattr(contest, "drop", lambda *_: None)
    contest.compete(ground, contenders.contenders()["floor"])
    made = f"{ground.place.prefix}_floor"
    assert equality.differences(ground.connection, made, ground.star) == []
    rows = ground.connection.execute(f"TABLE {made}.songplays ORDER BY 1").fetchall()
    theirs = ground.connection.execute(f"TABLE {ground.star}.songplays ORDER BY 1").fetchall()
    assert rows == theirs
    (number,) = ground.connection.execute(
        f"SELECT nextval(pg_get_serial_sequence('{made}.songplays', 'songplay_id'))"
    ).fetchone() or (0,)
    assert number == rows[-1][0] + 1
    monkeypatch.undo()


def test_a_server_that_may_not_read_files_is_sent_the_bytes(
    database: str, connection: Connection, committed: Path
) -> None:
    """A role without rights on the server's files or checkpoints gets its floor all the same."""
    connection.execute("CREATE ROLE bench_plain LOGIN")
    connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO bench_plain")
    try:
        dsn = psycopg.conninfo.make_conninfo(database, user="bench_plain")
        with open_ground(dsn, committed) as ground:
            assert not ground.floor_reads
            assert not ground.checkpoints
            contest.compete(ground, contenders.contenders()["floor"])
        assert schemas(connection) == []
    finally:
        connection.execute("DROP OWNED BY bench_plain")
        connection.execute("DROP ROLE bench_plain")


# --- choosing and measuring -----------------------------------------------------------------------


def test_contenders_are_found_in_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts of the second set are contenders too; one whose imports are missing says which."""
    assert set(contenders.contenders()) >= FIRST_SET
    (tmp_path / "contenders").symlink_to(contenders.folder() / "contenders")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "some_tool.py").write_text('"""Some tool."""\nimport no_such_tool.x\n')
    (tmp_path / "others" / "_shared.py").write_text("")
    (tmp_path / "others" / "here.py").write_text('"""Here."""\nimport _shared, json\n')
    monkeypatch.setattr(contenders, "folder", lambda: tmp_path)
    found = contenders.contenders()
    assert found["some-tool"].missing == ("no_such_tool",)
    assert found["here"].missing == ()
    assert "here" not in {contender.name for contender in contenders.choose([])}
    assert [contender.name for contender in contenders.choose(["here"])] == ["here"]
    with pytest.raises(UsageError, match="some-tool needs no_such_tool"):
        contenders.choose(["some-tool"])


def test_unknown_contenders_are_refused_before_anything_runs(tmp_path: Path) -> None:
    """A wrong name is a usage error that lists the right ones."""
    done = subprocess.run(
        [COMMAND, "bench", "--contender", "magic", "--output", str(tmp_path / "out")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SPARKIFY_BULK_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 2
    assert "no contender magic" in done.stderr
    assert "copy-binary" in done.stderr
    assert not (tmp_path / "home").exists()


def test_no_password_reaches_the_process_list(database: str) -> None:
    """Contenders get the password by the environment, not by an argument."""
    dsn, environment = _for_contenders(f"{database} password=hush", "bench")
    assert "hush" not in dsn
    assert environment["PGPASSWORD"] == "hush"


def test_measured_memory_is_the_commands_own() -> None:
    """Neither the memory of who asks counts, nor is that of a command's children left out."""
    own = bytearray(300_000_000)
    small = measure.measure([sys.executable, "-c", "pass"])
    assert small.peak_rss_bytes < len(own) / 3
    parent = (
        "import subprocess, sys; kept = bytearray(b'x' * 60_000_000);"
        "subprocess.run([sys.executable, '-c', 'import time;"
        ' kept = bytearray(b"x" * 60_000_000); time.sleep(0.5)\'])'
    )
    assert measure.measure([sys.executable, "-c", parent]).peak_rss_bytes > 120_000_000


def test_measured_cpu_is_client_and_server_apart(connection: Connection) -> None:
    """What a client's session costs the server counts there, even after the session has ended."""
    work = "SELECT count(*) FROM generate_series(1, 2000000) AS a(x) WHERE x % 7 = 0"
    begun = measure.server_cpu(connection.info.backend_pid)
    code = f"import psycopg; psycopg.connect({connection.info.dsn!r}).execute({work!r})"
    client = measure.measure([sys.executable, "-c", code])
    ended = measure.server_cpu(connection.info.backend_pid)
    assert begun is not None
    assert ended is not None
    assert ended - begun > 0.05
    assert client.cpu_seconds > 0
    assert measure.server_cpu(os.getpid()) is None
