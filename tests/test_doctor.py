"""What the doctor says of each thing that can be wrong, all of them really so."""

import dataclasses
import json
import os
import pty
import pwd
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from command import COMMAND, run
from conftest import SERVER
from fault_ground import Halting, locks
from psycopg import sql
from servers import Server, copy_standby, running
from trees import Tree, event, lines, query, song
from waiting import PATIENCE_SECONDS, wait_until

import sparkify_bulk
from sparkify_bulk import cli
from sparkify_bulk.doctor import checks, findings, inputs
from sparkify_bulk.doctor.findings import Diagnosis, Finding
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError
from sparkify_bulk.settings import Settings
from sparkify_bulk.source.manifest import begin_listing, input_stores, make_manifest
from sparkify_bulk.units import count, readable_size

ROLE = "Nightly loader"
NAMES = [check.__name__.replace("_", " ") for check in checks.CHECKS]


def look(dsn: str | None, data: Path | None = None, **asked: Any) -> Diagnosis:
    """Let the doctor look at a database, and at a tree of input if there is any."""
    folders = {"songs": data / "song_data", "logs": data / "log_data"} if data else {}
    return checks.diagnose(dsn=dsn, **{"schema": "sparkify"} | folders | asked)


def of(diagnosis: Diagnosis, name: str) -> Finding:
    """Return what one check found."""
    (found,) = [finding for finding in diagnosis.findings if finding.name == name]
    return found


def wrong(diagnosis: Diagnosis) -> dict[str, str]:
    """Return the checks that warn or fail, and which they do."""
    return {f.name: f.status for f in diagnosis.findings if f.status in ("warning", "failure")}


def command(*words: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    done = CliRunner().invoke(cli.cli, ["doctor", *words], standalone_mode=False)
    assert done.exception is None, done.exception
    return int(done.return_value), done.stdout


@pytest.fixture
def small(tree: Tree) -> Tree:
    """Make a tree with a song and a play."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    return tree


# --- in all ---------------------------------------------------------------------------------------


def test_a_fit_server_and_readable_input_pass(database: str, small: Tree) -> None:
    """Every check is ok before the first run and after it, and nothing is written."""
    before = look(database, small.root)
    assert (wrong(before), before.worst, before.exit_code) == ({}, "ok", 0), before
    assert [finding.name for finding in before.findings] == NAMES
    assert query(database, "SELECT nspname FROM pg_namespace WHERE nspname ~ '^sparkify'") == []
    sparkify_bulk.reload(small.root, dsn=database)
    after = look(database, small.root)
    assert (wrong(after), after.worst, after.exit_code) == ({}, "ok", 0), after
    assert "succeeded" in of(after, "last run").found
    assert "2018-11-15 00:30 UTC" in of(after, "newest event").found
    assert "1 file," in of(after, "songs").found


def test_without_input_its_checks_are_not_asked(database: str) -> None:
    """Who names no folder is not told about one; the server is looked at all the same."""
    diagnosis = look(database)
    skipped = {f.name for f in diagnosis.findings if f.status == "not asked"}
    assert skipped == {"songs", "logs"}
    assert "no input to compare with" in of(diagnosis, "disk").found


def test_json_is_one_document_of_the_documented_shape(database: str, small: Tree) -> None:
    """It names the target, the worst status, and what each check found."""
    code, printed = command(str(small.root), "--dsn", database, "--max-age", "36h", "--json")
    document = json.loads(printed)
    assert list(document) == ["target", "worst", "checks"]
    assert document["worst"] == "failure"
    assert document["target"].startswith("postgres@")
    assert [check["name"] for check in document["checks"]] == NAMES
    for check in document["checks"]:
        assert list(check) == ["name", "status", "found", "hint", "seconds"]
        assert check["status"] in ("ok", "warning", "failure", "not asked")
        assert check["found"]
        assert check["hint"] or check["status"] not in ("warning", "failure")
        assert check["seconds"] >= 0
    assert code == 7


def test_piped_output_has_a_line_a_check_and_no_escapes(database: str, small: Tree) -> None:
    """Each line begins with the mark and the name; there is no colour where nobody sees it."""
    code, printed = command(str(small.root), "--dsn", database)
    assert code == 0
    assert "\x1b" not in printed
    for name in NAMES:
        assert re.search(rf"^ok +{name} ", printed, re.MULTILINE), printed


def test_a_terminal_of_80_columns_is_enough(database: str, small: Tree) -> None:
    """No line is longer, and NO_COLOR is honoured."""
    for no_color in ("", "1"):
        shown = on_terminal(str(small.root), "--dsn", database, "--max-age=1d", NO_COLOR=no_color)
        assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) is not bool(no_color)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        assert max(map(len, plain.splitlines())) <= 80, plain
        assert re.search(r"^failure +newest event ", plain, re.MULTILINE), plain


def on_terminal(*words: str, **environment: str) -> str:
    """Run the command on a terminal of 80 columns; return what it shows."""
    ours, theirs = pty.openpty()
    surroundings = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"} | environment
    done = subprocess.Popen(
        [COMMAND, "doctor", *words],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=surroundings,
    )
    os.close(theirs)
    shown = b""
    # The end of a terminal whose other side is closed is an error, not an empty read.
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:
        pass
    finally:
        os.close(ours)
        done.wait(PATIENCE_SECONDS)
    return shown.decode()


def test_exit_codes_are_by_the_worst() -> None:
    """Warnings end with 0, a server out of reach with 4, age alone with 7, the rest with 1."""
    warning, stale = Finding("warning", "x", name="tls"), Finding("failure", "x", "newest event")
    stale = dataclasses.replace(stale, name="newest event")
    other = Finding("failure", "x", name="rights")

    def code(*findings: Finding, reached: bool = True) -> int:
        return Diagnosis("", findings, reached).exit_code

    assert code(warning) == 0
    assert code(warning, stale) == 7
    assert code(stale, other) == 1
    assert code(other, reached=False) == 4


# --- the server -----------------------------------------------------------------------------------


def test_a_server_that_is_down_leaves_the_input_to_be_looked_at(small: Tree) -> None:
    """Exit 4: its own checks are not asked; where it should be is said, and never a password."""
    dsn = "postgresql://ada:Geheim-123@127.0.0.1:1/music"
    code, printed = command(str(small.root), "--dsn", dsn, "--json")
    document = json.loads(printed)
    found = {check["name"]: check for check in document["checks"]}
    assert code == 4
    assert document["target"] == "ada@127.0.0.1:1/music"
    assert found["server"]["status"] == "failure"
    assert 'at "127.0.0.1", port 1' in found["server"]["found"]
    assert {name for name, check in found.items() if check["status"] == "ok"} == {"songs", "logs"}
    assert "Geheim" not in printed


def test_no_password_is_shown_by_any_rendering(small: Tree) -> None:
    """Neither one in a string that can't be read, nor in a URL, nor in the environment."""
    for dsn in ("postgresql://u:Geheim-123@h:port/d", "host=/nowhere password=Geheim-123"):
        for words in (["--json"], []):
            done = run("doctor", small.root, "--dsn", dsn, *words)
            assert done.returncode == 4
            assert "failure" in done.stdout
            assert "Geheim" not in done.stdout + done.stderr
    # Not even where a folder is named after it.
    diagnosis = look("host=/nowhere password=Geheim-123", small.root / "Geheim-123")
    assert "***/song_data does not exist" in of(diagnosis, "songs").found


def test_a_missing_database_is_refused_with_what_makes_it(server: Server) -> None:
    """Exit 4, and both ways to make it."""
    diagnosis = look(server.dsn("nowhere"))
    assert diagnosis.exit_code == 4
    assert '"nowhere" does not exist' in of(diagnosis, "server").found
    assert "--create-database" in of(diagnosis, "server").hint


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_fails(server: Server, encoding: str) -> None:
    """The encoding is named, with the statement that makes a database that will do; exit 1."""
    make = "CREATE DATABASE odd_one TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
    server.execute(sql.SQL(make).format(sql.Literal(encoding)))
    try:
        diagnosis = look(server.dsn("odd_one"))
        assert wrong(diagnosis) == {"encoding": "failure"}
        assert encoding in of(diagnosis, "encoding").found
        assert "ENCODING 'UTF8'" in of(diagnosis, "encoding").hint
        assert diagnosis.exit_code == 1
    finally:
        server.drop("odd_one")


@pytest.mark.usefixtures("_clean_environment")
def test_a_standby_fails() -> None:
    """It takes no writes: exit 1, and its primary is asked for."""
    settings = "wal_level = replica\nmax_wal_senders = 4\nhot_standby = on\n"
    with running(SERVER, settings) as primary, tempfile.TemporaryDirectory(prefix="spb_") as home:
        standby = copy_standby(primary, Path(home))
        standby.start()
        try:
            diagnosis = look(standby.dsn("postgres"))
        finally:
            standby.stop("immediate")
    assert wrong(diagnosis) == {"writes": "failure"}, diagnosis
    assert "primary" in of(diagnosis, "writes").hint
    assert diagnosis.exit_code == 1


def test_transactions_that_are_read_only_by_default_warn(database: str) -> None:
    """A run writes all the same; somebody may have had a reason."""
    name = database.rpartition("dbname=")[2]
    query(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    found = of(look(database), "writes")
    assert found.status == "warning"
    assert "disk is full" in found.hint


def test_too_few_connections_warn(database: str, role: str) -> None:
    """A role that may have fewer than a run takes is told both numbers."""
    query(database, f'ALTER ROLE "{ROLE}" CONNECTION LIMIT 3')
    found = of(look(role), "connections")
    assert (found.status, found.found[:10]) == ("warning", "3 are free")
    query(database, f'ALTER ROLE "{ROLE}" CONNECTION LIMIT -1')
    assert of(look(role), "connections").status == "ok"


def test_a_clock_that_is_off_warns(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, by more than two seconds."""
    right = time.time
    for seconds, said in ((60, "60.0 s behind"), (-60, "60.0 s ahead of")):
        monkeypatch.setattr(
            "sparkify_bulk.doctor.server.time.time", lambda seconds=seconds: right() + seconds
        )
        found = of(look(database), "clock")
        assert found.status == "warning"
        assert said in found.found


@pytest.mark.usefixtures("_clean_environment")
def test_many_checkpoints_asked_for_warn_with_a_value_for_the_input(tmp_path: Path) -> None:
    """It holds twice the log that a reload of the input writes, and is taken as it stands."""
    (tmp_path / "log_data").mkdir()
    (tmp_path / "song_data").mkdir()
    big = tmp_path / "log_data" / "a.json"
    # Nothing is read: a hole will do for a gigabyte.
    with big.open("wb") as file:
        file.truncate(10**9)
    settings = "wal_level = replica\nmax_wal_size = 64MB\n"
    with running(SERVER, settings) as server:
        # Few of them say nothing yet.
        assert of(look(server.dsn("postgres"), tmp_path), "checkpoints").status == "ok"
        for number in range(12):
            server.create(f"d{number}")
            server.execute(sql.SQL("CHECKPOINT"))
        dsn = server.dsn("d1")
        found = of(look(dsn, tmp_path), "checkpoints")
        assert found.status == "warning", found
        assert "max_wal_size is 64MB" in found.found
        statements = found.hint.splitlines()[1:]
        assert statements[0] == "ALTER SYSTEM SET max_wal_size = '2GB';"
        for statement in statements:
            query(dsn, statement)
        # The server takes it in its own time.
        wait_until(lambda: query(dsn, "SHOW max_wal_size") == [("2GB",)], "it doesn't take it")
        assert of(look(dsn, tmp_path), "checkpoints").status == "ok"
        # A small input would fit even then.
        query(dsn, "ALTER SYSTEM RESET max_wal_size")
        query(dsn, "SELECT pg_reload_conf()")
        wait_until(lambda: query(dsn, "SHOW max_wal_size") == [("64MB",)], "it doesn't take it")
        with big.open("wb") as file:
            file.truncate(10**6)
        assert of(look(dsn, tmp_path), "checkpoints").status == "ok"


def test_too_little_room_fails(database: str, small: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free is compared with what a reload needs, where it can be known."""
    room = os.statvfs("/")
    free = room.f_bavail * room.f_frsize
    with (small.log_folder / "hole.json").open("wb") as file:
        file.truncate(min(2 * free, 2**43))
    found = of(look(database, small.root), "disk")
    assert found.status == "failure"
    assert "a reload needs about" in found.found
    assert "make room" in found.hint
    monkeypatch.setattr("sparkify_bulk.doctor.room.is_here", lambda _: False)
    elsewhere = of(look(database, small.root), "disk")
    assert elsewhere.status == "not asked"
    assert "can't be checked: the server is elsewhere; a reload needs about" in elsewhere.found


# --- rights ---------------------------------------------------------------------------------------


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """Make a role without any right in the database; return how it gets there."""
    name = sql.Identifier(ROLE)
    query(database, sql.SQL("CREATE ROLE {} LOGIN").format(name))
    yield database.replace("user=postgres", f"user='{ROLE}'")
    query(database, sql.SQL("DROP OWNED BY {} CASCADE").format(name))
    query(database, sql.SQL("DROP ROLE {}").format(name))


def close(database: str) -> None:
    """Take from everybody what a new database lets everybody do, but connect."""
    name = database.rpartition("dbname=")[2]
    query(database, f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    query(database, f"GRANT CONNECT ON DATABASE {name} TO PUBLIC")


def follow(database: str, hint: str) -> list[str]:
    """Run the statements of a hint as an administrator; return them."""
    statements = hint.splitlines()[1:]
    assert all(statement.endswith(";") for statement in statements)
    for statement in statements:
        query(database, statement)
    return statements


def test_the_statements_give_a_role_without_rights_all_it_needs(
    database: str, role: str, small: Tree
) -> None:
    """They name what is missing; run by an administrator, the next doctor and runs pass."""
    close(database)
    with pytest.raises(DatabaseError, match="not enough rights"):
        sparkify_bulk.reload(small.root, dsn=role)
    diagnosis = look(role, small.root)
    assert wrong(diagnosis) == {"rights": "failure"}
    assert diagnosis.exit_code == 1
    statements = follow(database, of(diagnosis, "rights").hint)
    assert statements[0].startswith("GRANT TEMPORARY ON DATABASE")
    assert statements[0].endswith('TO "Nightly loader";')
    assert statements[1:] == [
        f'CREATE SCHEMA sparkify{word} AUTHORIZATION "Nightly loader";'
        for word in ("", "_build", "_ledger", "_staging")
    ]
    assert wrong(look(role, small.root)) == {}
    for story in (sparkify_bulk.reload, sparkify_bulk.load, sparkify_bulk.reload):
        assert story(small.root, dsn=role).status == "succeeded"
    assert wrong(look(role, small.root)) == {}


@pytest.mark.full
def test_each_single_right_is_missed(database: str, role: str, small: Tree) -> None:
    """Of a role that has all others, exactly the one that was taken away is named, and enough."""
    close(database)
    follow(database, of(look(role), "rights").hint)
    sparkify_bulk.reload(small.root, dsn=role)
    name = database.rpartition("dbname=")[2]
    for taken, given in (
        (
            f'REVOKE TEMPORARY ON DATABASE {name} FROM "{ROLE}"',
            f'GRANT TEMPORARY ON DATABASE {name} TO "{ROLE}";',
        ),
        (
            "DROP SCHEMA sparkify_build CASCADE",
            f'CREATE SCHEMA sparkify_build AUTHORIZATION "{ROLE}";',
        ),
        (
            "ALTER TABLE sparkify.users OWNER TO postgres",
            f'ALTER TABLE sparkify.users OWNER TO "{ROLE}";',
        ),
    ):
        query(database, taken)
        found = of(look(role), "rights")
        assert found.hint.splitlines()[1:] == [given]
        with pytest.raises(SparkifyBulkError):
            sparkify_bulk.reload(small.root, dsn=role)
        follow(database, found.hint)
        assert of(look(role), "rights").status == "ok"
        assert sparkify_bulk.reload(small.root, dsn=role).status == "succeeded"


def test_the_statements_hand_over_a_star_that_somebody_else_made(
    database: str, role: str, small: Tree
) -> None:
    """Schemas and tables of another role; after its statements reload and load go through."""
    close(database)
    sparkify_bulk.reload(small.root, dsn=database)
    diagnosis = look(role, small.root)
    assert of(diagnosis, "rights").status == "failure"
    # What it may not see, the doctor doesn't guess.
    for name in ("last run", "newest event"):
        assert of(diagnosis, name).status == "not asked"
    statements = follow(database, of(diagnosis, "rights").hint)
    assert f'GRANT USAGE, CREATE ON SCHEMA sparkify_ledger TO "{ROLE}";' in statements
    assert f'ALTER TABLE sparkify_ledger.runs OWNER TO "{ROLE}";' in statements
    assert wrong(look(role, small.root)) == {}
    small.logs("b.json", event(2))
    assert sparkify_bulk.load(small.root, dsn=role).tables["songplays"].rows == 2
    assert sparkify_bulk.reload(small.root, dsn=role).tables["songplays"].rows == 2


# --- the star -------------------------------------------------------------------------------------


def test_what_cannot_follow_a_reload_warns(database: str, small: Tree) -> None:
    """It is named, with the option that drops it."""
    sparkify_bulk.reload(small.root, dsn=database)
    query(database, "CREATE MATERIALIZED VIEW public.tops AS SELECT * FROM sparkify.songs")
    diagnosis = look(database, small.root)
    assert wrong(diagnosis) == {"dependents": "warning"}
    assert "tops" in of(diagnosis, "dependents").found
    assert diagnosis.exit_code == 0


def test_tables_of_another_star_fail(database: str) -> None:
    """A schema that holds other tables of the same names is refused, as a run would."""
    query(database, "CREATE SCHEMA sparkify")
    query(database, "CREATE TABLE sparkify.users (id integer)")
    assert wrong(look(database)) == {"star": "failure"}


def test_who_holds_the_star_is_told_and_its_tables_are_no_left_overs(
    database: str, small: Tree
) -> None:
    """While a run is at work; when it was killed its left-overs are; the next run clears them."""
    run = Halting("reload", small.root, database, "mid-COPY")
    try:
        run.wait_for("reached")
        busy = look(database, small.root)
        assert wrong(busy) == {"lock": "warning"}
        assert "held by run 1 (reload, by" in of(busy, "lock").found
        assert of(look(database, schema="other"), "lock").status == "ok"
    finally:
        run.close()
    # The server process of a dead client lets the lock go when it sees that, not before.
    wait_until(lambda: not locks(database), "the server keeps the lock")
    dead = look(database, small.root)
    assert wrong(dead) == {"leftovers": "warning"}
    assert "run 1" in of(dead, "leftovers").found
    assert "sparkify_build." in of(dead, "leftovers").found
    assert dead.exit_code == 0
    sparkify_bulk.reload(small.root, dsn=database)
    assert wrong(look(database, small.root)) == {}


def test_how_the_last_run_ended_is_told(database: str, small: Tree) -> None:
    """Rejects and failures warn, and say where to look."""
    small.logs("b.json", b"{broken")
    sparkify_bulk.reload(small.root, dsn=database)
    found = of(look(database), "last run")
    assert (found.status, found.hint) == ("warning", "see sparkify-bulk rejects --run 1")
    with pytest.raises(SparkifyBulkError):
        sparkify_bulk.reload(small.root, dsn=database, max_rejects=0)
    found = of(look(database), "last run")
    assert found.status == "warning"
    assert "run 2 (reload) failed" in found.found


def test_events_older_than_wanted_fail(database: str, tree: Tree) -> None:
    """Exit 7 if nothing else is wrong, 0 if they are new enough; no event is too old."""
    words = ("--dsn", database, "--max-age")
    assert command(*words, "36h")[0] == 7
    tree.logs("a.json", event(ts=int((time.time() - 7200) * 1000)))
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database)
    assert command(*words, "90m")[0] == 7
    assert command(*words, "36h")[0] == 0
    found = of(look(database, max_age=timedelta(hours=1)), "newest event")
    assert "2 h ago: over 60 min" in found.found
    query(database, "TRUNCATE sparkify.songplays, sparkify.time")
    assert command(*words, "36h")[0] == 7
    assert command("--dsn", database)[0] == 0


@pytest.mark.parametrize("age", ["36", "h", "1.5h", "-2d", "1y", "2w", ""])
def test_what_is_no_age_is_refused(age: str) -> None:
    """With how to write one, and exit 2."""
    done = CliRunner().invoke(cli.cli, ["doctor", "--dsn", "host=/nowhere", f"--max-age={age}"])
    assert done.exit_code == 2
    assert "--max-age" in done.output


# --- input ----------------------------------------------------------------------------------------


def test_input_that_is_not_there_fails(database: str, tmp_path: Path) -> None:
    """Each folder is named; an empty one only warns."""
    (tmp_path / "log_data").mkdir()
    (tmp_path / "log_data" / "notes.txt").write_text("x")
    diagnosis = look(database, tmp_path)
    assert wrong(diagnosis) == {"songs": "failure", "logs": "warning"}
    assert f"{tmp_path}/song_data does not exist" in of(diagnosis, "songs").found
    assert diagnosis.exit_code == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_input_one_may_not_read_is_named(database: str, tree: Tree) -> None:
    """A file and a folder without the right to read them, each by its name."""
    file = tree.logs("a.json", event())
    folder = tree.songs("A/a.json", song()).parent
    file.chmod(0)
    folder.chmod(0)
    tree.let_all_in()
    script = (
        "import os, sys, sparkify_bulk.cli as c\n"
        "import sparkify_bulk.doctor.checks, sparkify_bulk.commands.tables\n"
        "os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))\n"
        "sys.argv[1:] = ['doctor', *sys.argv[2:]]; c.main()"
    )
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    done = subprocess.run(
        [sys.executable, "-c", script, nobody, str(tree.root), "--dsn", database, "--json"],
        check=False, capture_output=True, text=True, cwd=Path(sparkify_bulk.__file__).parent.parent,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["logs"]["found"] == f"can't be read: {file}"
    assert found["songs"]["found"] == f"can't be read: {folder}"
    assert "right to read" in found["songs"]["hint"]


def test_only_so_many_files_are_looked_at(
    database: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million files don't hold the doctor up; what they need is said to be more."""
    monkeypatch.setattr(inputs, "_MOST_FILES", 3)
    for number in range(5):
        tree.songs(f"{number}.json", song(number))
    diagnosis = look(database, tree.root)
    assert "the first 3 files" in of(diagnosis, "songs").found
    assert "needs at least" in of(diagnosis, "disk").found


def test_a_folder_reached_by_two_links_counts_as_runs_count_it(database: str, small: Tree) -> None:
    """Its files count once by each way, and a link that leads back above itself is left out."""
    shared = small.root / "shared"
    (shared / "deep").mkdir(parents=True)
    (shared / "deep" / "a.json").write_bytes(lines(event(1)))
    for name in ("one", "other"):
        (small.log_folder / name).symlink_to(shared)
    (shared / "deep" / "back").symlink_to(shared)
    settings = Settings(small.song_folder, small.log_folder, follow_links=True, jobs=2)
    found = of(look(database, small.root, follow_links=True), "logs").found
    for read in (False, True):
        with begin_listing(settings, read=read) as listings:
            store = input_stores(settings)["events"]
            manifest = make_manifest("events", store, listing=listings["events"])
            manifest.look_ahead()
        assert found.startswith(f"{count(manifest.files, 'file')}, {readable_size(manifest.size)}")
        assert manifest.left_out.counts["link"] == 2
    assert "2 symbolic links" in found
    plain = of(look(database, small.root), "logs").found
    assert plain.startswith(count(manifest.files - 2, "file"))


def test_links_are_followed_where_asked_and_loops_end(database: str, tree: Tree) -> None:
    """As runs do."""
    elsewhere = Tree(tree.root / "elsewhere")
    elsewhere.songs("a.json", song())
    (tree.song_folder / "there").symlink_to(elsewhere.song_folder)
    (elsewhere.song_folder / "back").symlink_to(tree.song_folder)
    found = of(look(database, tree.root), "songs").found
    assert found.startswith("no files")
    assert found.endswith(
        "left out: 1 symbolic link (song_data/there); --follow-links follows links"
    )
    assert "1 file," in of(look(database, tree.root, follow_links=True), "songs").found


# --- safety ---------------------------------------------------------------------------------------


def test_functions_in_public_are_never_called(database: str, small: Tree) -> None:
    """One with a closer signature than the built-in one's is left alone."""
    sparkify_bulk.reload(small.root, dsn=database)
    for arguments in ("hashtextextended(text, integer)", "format(text, name)"):
        query(
            database,
            f"CREATE FUNCTION public.{arguments} RETURNS bigint LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION 'called'; END $$",
        )
    assert wrong(look(database, small.root)) == {}


def test_a_lock_on_the_star_does_not_hold_the_doctor_up(
    database: str, small: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who locks the star exclusively lets every other check go on."""
    sparkify_bulk.reload(small.root, dsn=database)
    monkeypatch.setitem(findings._LIMITS, "lock_timeout", "10ms")  # noqa: SLF001
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE sparkify.songplays IN ACCESS EXCLUSIVE MODE")
        diagnosis = look(database, small.root)
    # What hangs on the tables is asked for by functions that lock them.
    assert wrong(diagnosis).keys() == {"dependents", "record", "newest event"}
    assert "lock timeout" in of(diagnosis, "newest event").found
