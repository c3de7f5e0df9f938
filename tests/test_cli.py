"""The command as users run it."""

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import psycopg
import pytest
from command import COMMAND, run, run_installed
from fault_ground import wait_until_somebody_waits
from psycopg import sql
from servers import fast_folder
from trees import Tree, event, query, read_star, song
from waiting import PATIENCE_SECONDS

import sparkify_bulk
from sparkify_bulk import cli
from sparkify_bulk.database.connection import Connection


def test_reload_prints_its_report_and_logs_apart(database: str, committed: Path) -> None:
    """A reload ends with 0, its tables on stdout and its log lines on stderr."""
    done = run_installed("reload", str(committed), "--dsn", database)
    assert done.returncode == 0, done.stderr
    assert "songplays" in done.stdout
    assert "2,110" in done.stdout
    assert "INFO switch" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_json_is_alone_on_stdout(database: str, committed: Path) -> None:
    """With --json, stdout is one JSON document that names every table, phase and book."""
    done = run("load", str(committed), "--dsn", database, "--json")
    report = json.loads(done.stdout)
    assert report["status"] == "succeeded"
    assert list(report)[:4] == ["run_id", "command", "status", "target"]
    assert set(report["tables"]) == {"songs", "artists", "users", "time", "songplays"}
    events = report["input"]["events"]
    assert events["records"] == events["accepted"] + events["filtered"] + events["rejected"]
    assert events["accepted"] == events["inserted"] + events["duplicates"]


def test_quiet_says_nothing(database: str, committed: Path) -> None:
    """With --quiet, a run that goes well prints nothing."""
    done = run("reload", str(committed), "--dsn", database, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_options_come_from_the_environment(database: str, committed: Path) -> None:
    """Every option has an environment variable, DATABASE_URL among them."""
    done = run(
        "reload", str(committed), "--json", DATABASE_URL=database, SPARKIFY_BULK_SCHEMA="music"
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM music.songplays").fetchone() == (2110,)


def test_rejects_exit_3_and_are_listed(database: str, tree: Tree) -> None:
    """Bad records end the run with 3, and are listed with file, line and reason; good ones load."""
    log = tree.root / "log_data" / "day.json"
    play = {"page": "NextSong", "ts": 1541105830796, "userId": "1", "sessionId": 1, "level": "free"}
    lines = [json.dumps(play | {"itemInSession": 1}), '{"page": "NextS', json.dumps(play)]
    log.write_text("\n".join(lines))
    done = run("reload", str(tree.root), "--dsn", database, "--quiet")
    assert done.returncode == 3
    assert "2 records were rejected: 1 malformed_json, 1 missing_field" in done.stderr
    assert "NextS" not in done.stderr
    listed = [
        json.loads(line) for line in run("rejects", "--dsn", database, "--json").stdout.splitlines()
    ]
    found = [(r["file"], r["line"], r["reason"], r["column"], r["raw"]) for r in listed]
    assert found == [
        ("log_data/day.json", 2, "malformed_json", None, lines[1]),
        ("log_data/day.json", 3, "missing_field", "itemInSession", lines[2]),
    ]
    assert "log_data/day.json" in run("rejects", "--dsn", database).stdout
    told = run("reload", str(tree.root), "--dsn", database, "-v").stderr
    assert "log_data/day.json line 2: malformed_json" in told
    assert "NextS" not in told


def test_reject_limit_exits_6_and_leaves_the_star(database: str, tree: Tree) -> None:
    """Beyond --max-rejects a run ends with 6; the star is untouched, and the rejects are listed."""
    (tree.root / "song_data" / "bad.json").write_text('{"song_id": 5}')
    done = run("reload", "--songs", f"{tree.root}/song_data", "--dsn", database, "--max-rejects=0")
    assert done.returncode == 6
    assert "--max-rejects" in done.stderr
    assert "bad.json" in run("rejects", "--dsn", database).stdout
    with psycopg.connect(database) as connection:
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'sparkify'"
        assert connection.execute(query).fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reload",), "no input"),
        (("reload", "/no/such/folder"), "does not exist"),
        (("reload", "data", "--jobs", "none"), "--jobs"),
        (("reload", "data", "--schema", "Robert'); DROP"), "--schema"),
        (("load", "data", "--bogus"), "--bogus"),
        (("show", "nothing"), "most_played_songs"),
    ],
)
def test_wrong_arguments_exit_2(arguments: tuple[str, ...], said: str) -> None:
    """A command line that can't be right ends with 2 and says what is wrong."""
    done = run(*arguments, SPARKIFY_BULK_DSN="host=/nowhere")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_server_exits_4(committed: Path) -> None:
    """A server that can't be reached ends the run with 4 and a hint."""
    done = run("reload", str(committed), "--dsn", "host=/nowhere")
    assert done.returncode == 4
    assert "Hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_busy_star_exits_5(database: str, committed: Path, connection: Connection) -> None:
    """While another run holds the star a run ends with 5."""
    run("reload", str(committed), "--dsn", database)
    with connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('sparkify_bulk sparkify', 0))"
        )
        done = run("load", str(committed), "--dsn", database)
    assert done.returncode == 5
    assert "held by" in done.stderr


def test_failed_run_reports_in_json(database: str, tree: Tree) -> None:
    """A run that fails prints its report all the same, with what ended it."""
    done = run("reload", "--songs", f"{tree.root}/song_data", "--dsn", database, "--json")
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["status"] == "failed"
    assert "no song or log files" in report["error"]


def reload_to_its_switch(dsn: str, data: Path) -> subprocess.Popen[str]:
    """Start a reload, and return it where only the switch is left, which waits for readers."""
    process = subprocess.Popen(
        [COMMAND, "reload", str(data), "--dsn", dsn],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("INFO complete star" in line for line in process.stderr)
    return process


@pytest.mark.every(2)
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_run_cleanly(
    database: str, committed: Path, connection: Connection, sent: signal.Signals, code: int
) -> None:
    """Ctrl-C and SIGTERM end a run with their codes, star untouched, nothing staged left behind."""
    assert run("reload", str(committed), "--dsn", database).returncode == 0
    with connection.transaction():
        # The switch waits for this reader; then the signal comes.
        connection.execute("SELECT count(*) FROM sparkify.songplays")
        process = reload_to_its_switch(database, committed)
        process.send_signal(sent)
        said = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == code
    assert "ignored" not in said
    assert "Traceback" not in said
    listed = json.loads(run("runs", "--dsn", database, "--json", "--limit", "1").stdout)
    assert (listed["status"], listed["exit_code"]) == ("failed", code)
    assert "interrupted" in listed["error"]
    assert " interrupted " in run("runs", "--dsn", database).stdout
    left = (
        "SELECT count(*) FROM pg_tables WHERE schemaname IN ('sparkify_build', 'sparkify_staging')"
    )
    assert connection.execute(left).fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM sparkify.songplays").fetchone() == (2110,)


@pytest.mark.every(2)
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_a_run_at_once(
    database: str, committed: Path, connection: Connection, sent: signal.Signals, code: int
) -> None:
    """Even where clearing up has to wait; the star is whole, and the next run clears up."""
    assert run("reload", str(committed), "--dsn", database).returncode == 0
    with connection.transaction():
        # The switch waits for this reader; clearing up waits for the one after.
        connection.execute("SELECT count(*) FROM sparkify.songplays")
        process = reload_to_its_switch(database, committed)
        staged = "SELECT tablename FROM pg_tables WHERE schemaname = 'sparkify_staging'"
        for (name,) in connection.execute(staged).fetchall():
            look = sql.SQL("SELECT FROM sparkify_staging.{}")
            connection.execute(look.format(sql.Identifier(name)))
        process.send_signal(sent)
        wait_until_somebody_waits(database)
        process.send_signal(sent)
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code
    assert "Stopped at once" in said
    assert connection.execute("SELECT count(*) FROM sparkify.songplays").fetchone() == (2110,)
    done = run("reload", str(committed), "--dsn", database, "--wait", "60")
    assert done.returncode == 0, done.stderr
    assert connection.execute(staged.encode()).fetchall() == []


def test_progress_only_on_a_terminal(database: str, committed: Path) -> None:
    """On a terminal 80 columns wide, progress is drawn there, and no line is wider."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "reload", str(committed), "--dsn", database],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        drawn += block
    process.communicate(timeout=PATIENCE_SECONDS)
    os.close(ours)
    assert process.returncode == 0
    assert b"stage events" in drawn
    assert b"INFO" not in drawn
    assert b"\x1b[3" not in drawn  # no colours


def run_redirected(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command with streams that are closed, or on a full disk."""
    line = f"{shlex.join([COMMAND, *arguments])} {redirections}"
    return subprocess.run(
        ["/bin/sh", "-c", line], check=False, capture_output=True, text=True, timeout=120
    )


@pytest.mark.every(3)
@pytest.mark.parametrize("redirections", [">&-", ">/dev/full"])
@pytest.mark.parametrize("words", ["--help", "schema", "completion bash", "runs", "runs --json"])
def test_output_that_cannot_be_written_is_an_error_without_a_traceback(
    database: str, committed: Path, redirections: str, words: str
) -> None:
    """The error says why; the exit code, that not all was written."""
    dsn = ["--dsn", database] if words.startswith("runs") else []
    if dsn:
        run("reload", str(committed), *dsn)
    done = run_redirected(redirections, *words.split(), *dsn)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the output can't be written: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("words", "code"), [("nonsense", 2), ("reload /nowhere", 2)])
def test_an_error_that_cannot_be_written_keeps_its_exit_code(
    redirections: str, words: str, code: int
) -> None:
    """Errors of usage and errors of commands alike."""
    assert run_redirected(redirections, *words.split()).returncode == code


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_text_that_the_locale_cannot_hold_is_escaped(
    database: str, tree: Tree, encoding: str
) -> None:
    """Tables are ruled by hyphens then; no command ends because of it, least of all a run."""
    tree.songs("a.json", song(title="ert 猫"))
    tree.logs("a.json", event())
    for words in (["reload", str(tree.root)], ["runs"], ["query", "SELECT title FROM songs"]):
        done = run_installed(*words, "--dsn", database, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "-----" in done.stdout
    assert r"ert \u732b" in done.stdout


@pytest.mark.parametrize(
    "words",
    ["runs --limit -1", "runs --limit {}", "rejects --run {}", "rejects replay --run {}",
    "report --run {}", "rejects --limit {}", "query TABLE --limit {}"],
)  # fmt: skip
def test_a_number_that_none_can_have_is_a_usage_error(words: str) -> None:
    """It is refused before anybody is asked; the option is named."""
    done = run(*words.format(10**20).split())
    assert done.returncode == 2
    assert "Invalid value for '--" in done.stderr


def test_runs_are_listed(database: str, committed: Path) -> None:
    """Runs are listed, newest first, with how they ended."""
    run("reload", str(committed), "--dsn", database)
    run("load", str(committed), "--dsn", database)
    done = run("runs", "--dsn", database, "--json")
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(r["command"], r["exit_code"]) for r in listed] == [("load", 0), ("reload", 0)]
    table = run("runs", "--dsn", database).stdout
    assert "succeeded" in table
    assert "2,800" in table  # records of the reload: 300 songs and 2,500 events


def test_show_answers_every_question(database: str, committed: Path) -> None:
    """The questions are answered, as tables or as JSON; without a star there is a clear error."""
    assert "there is no star" in run("show", "--dsn", database).stderr
    run("reload", str(committed), "--dsn", database)
    assert "Most played songs" in run("show", "--dsn", database).stdout
    answers = [
        json.loads(line) for line in run("show", "--dsn", database, "--json").stdout.splitlines()
    ]
    assert all(answer["rows"] for answer in answers)
    assert (
        sum(row["plays"] for a in answers if a["question"] == "plays_by_hour" for row in a["rows"])
        == 2110
    )


def test_schema_prints_ddl_that_runs(connection: Connection) -> None:
    """The DDL makes an empty star where it is run."""
    connection.execute(run("schema", "--schema", "music").stdout.encode())
    query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'music'"
    assert connection.execute(query).fetchone() == (5,)
    assert run("schema", "--mermaid").stdout.startswith("erDiagram\n")


def test_schema_draws_the_star(tmp_path: Path) -> None:
    """The picture goes to a file, or to stdout; with another answer beside it there is an error."""
    file = tmp_path / "star.svg"
    assert run("schema", "--svg", str(file)).returncode == 0
    assert file.read_text() == run("schema", "--svg", "-").stdout
    assert file.read_text().startswith("<?xml")
    for other in ("--mermaid", "--roles"):
        done = run("schema", "--svg", str(tmp_path / "other.svg"), other)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{other} and --svg are mutually exclusive" in done.stderr
    assert run("schema", "--svg", str(tmp_path / "no" / "star.svg")).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["star.svg"]


def test_a_schema_may_be_named_like_a_word_of_sql(
    database: str, committed: Path, connection: Connection
) -> None:
    """It is quoted wherever it stands."""
    for command in ("reload", "load", "verify", "plan"):
        done = run(command, str(committed), "--dsn", database, "--schema", "order")
        assert done.returncode == 0, done.stderr
    for words in (["show"], ["rejects"], ["rejects", "replay"], ["runs"]):
        done = run(*words, "--dsn", database, "--schema", "order")
        assert done.returncode == 0, done.stderr
    words = ("psql", "--schema", "order", "--dsn", database)
    assert run_installed(*words, "-Atc", "SELECT count(*) FROM songplays").stdout.strip() == "2110"
    connection.execute(run("schema", "--schema", "table").stdout.encode())
    roles = run("schema", "--schema", "user", "--roles").stdout
    with connection.transaction(force_rollback=True):
        connection.execute(roles.encode())
        made = "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^user(_|$)'"
        assert connection.execute(made).fetchone() == (4,)


def test_psql_sees_the_star(database: str, committed: Path) -> None:
    """The psql that opens has the star's schema on its path."""
    run("reload", str(committed), "--dsn", database)
    done = run_installed("psql", "--dsn", database, "-Atc", "SELECT count(*) FROM songplays")
    assert done.stdout.strip() == "2110", done.stderr


def test_no_database_named_uses_the_embedded_server_loudly(committed: Path) -> None:
    """With nothing named, the embedded server is used and said so; db tells where, and stops it."""
    above = tempfile.mkdtemp(prefix="sb-", dir=fast_folder())
    Path(above).chmod(0o755)
    home = {"SPARKIFY_BULK_HOME": f"{above}/home"}
    try:
        assert run("db", "status", **home).returncode == 4
        done = run("reload", str(committed), "--quiet", **home)
        assert done.returncode == 0, done.stderr
        assert "EMBEDDED PostgreSQL" in done.stderr
        assert "running" in run("db", "status", **home).stdout
        with psycopg.connect(run("db", "url", **home).stdout.strip()) as connection:
            assert connection.execute("SELECT count(*) FROM sparkify.songplays").fetchone() == (
                2110,
            )
    finally:
        assert run("db", "stop", **home).stdout == "stopped\n"
        shutil.rmtree(above)


def test_module_runs_as_the_command() -> None:
    """`python -m sparkify_bulk` is the command."""
    done = subprocess.run(
        [sys.executable, "-m", "sparkify_bulk", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == run_installed("--version").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """Each shell gets a script that completes the command."""
    assert "_SPARKIFY_BULK_COMPLETE" in run("completion", shell).stdout


def all_commands(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    """Return a command and all below it, each with the words that name it."""
    found = [(path, command)]
    for name, child in getattr(command, "commands", {}).items():
        found += all_commands(child, f"{path} {name}".strip())
    return found


@pytest.mark.parametrize(("path", "command"), all_commands(cli.cli, ""), ids=str)
def test_every_help_has_an_example(path: str, command: click.Command) -> None:
    """Groups too; the example is of that very command."""
    shown = command.get_help(click.Context(command, info_name=path))
    example = shown.partition("Example")[2].partition("Options:")[0]
    words = example.split()
    assert {"sparkify-bulk", *path.split()} <= {word.strip('"$()') for word in words}


def test_help_needs_no_heavy_modules() -> None:
    """Help is printed without importing what only runs need."""
    code = (
        "import sys, click; from sparkify_bulk import cli\n"
        "try: cli.cli.main(['reload', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('polars', 'psycopg', 'rich', 'arro3', 'orjson', 'matplotlib', 'jinja2')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.endswith("[]\n"), done.stdout


@pytest.mark.parametrize("command", ["reload", "load", "verify", "plan"])
def test_too_small_an_address_space_is_refused_with_advice(command: str, committed: Path) -> None:
    """Libraries would abort in it, without a word that helps."""
    words = [COMMAND, command, str(committed), "--dsn", "host=/nowhere"]
    limited = "ulimit -v 800000; exec " + shlex.join(words)
    done = subprocess.run(["/bin/sh", "-c", limited], check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "address space is limited to 781 MB" in done.stderr
    assert "ulimit -v unlimited" in done.stderr


# The command, and at its end the most memory it had, in kB; what `wait4` says begins with the
# memory of the process that started it.
PEAK = """
import atexit, pathlib, re, sys
status = pathlib.Path("/proc/self/status")
said = lambda: print(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1], file=sys.stderr)
atexit.register(said)
from sparkify_bulk.cli import main
main()
"""


@pytest.mark.full
def test_a_long_list_of_rejects_is_not_held_in_memory(database: str, tree: Tree) -> None:
    """However many there are, in every form."""
    tree.logs("a.json", event(), b"{broken")
    sparkify_bulk.load(tree.root, dsn=database)
    query(
        database,
        """INSERT INTO sparkify_ledger.rejects
            (run_id, kind, file, line, "offset", "column", reason, detail, raw)
        SELECT run_id, kind, file, n, "offset", "column", reason, detail, raw
        FROM sparkify_ledger.rejects, generate_series(1, 60000) AS n""",
    )
    for words in (["--limit", "60000"], ["--json"], ["--by-reason"]):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, "rejects", "--dsn", database, *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True,
        )  # fmt: skip
        # As a table of one piece they took 170 MB.
        assert int(done.stderr.split()[-1]) < 110 * 1024, words


@pytest.mark.every(2)
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_run(database: str, tree: Tree, closed: str) -> None:
    """The run is done, and its code says so; what only prints fails where it can't."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())

    done = run_redirected(closed, "reload", str(tree.root), "--dsn", database)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert read_star(database)["songplays"] != []
    done = run_redirected(closed, "runs", "--dsn", database)
    assert done.returncode == (1 if closed != "2>&-" else 0)
    assert "Traceback" not in done.stderr
