"""What a user meets at a terminal: tables at several widths, and what commands say in the end."""

import contextlib
import fcntl
import itertools
import json
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import psycopg
import pytest
from command import COMMAND, run
from rich.cells import cell_len
from rich.console import Console
from servers import fast_folder
from trees import Tree, event, song
from waiting import PATIENCE_SECONDS

import sparkify_bulk
from sparkify_bulk import statements, units
from sparkify_bulk.bench import contenders
from sparkify_bulk.commands import tables
from sparkify_bulk.database import embedded
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.transform.rejection import REASONS

WIDTHS = (60, 80, 120)
STYLES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


def at_terminal(width: int, *arguments: str, stderr: bool = False) -> tuple[int, list[str]]:
    """Run the command on a terminal of a width; return its exit code and what stdout shows.

    With `stderr` what that shows is returned instead.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    outputs = {"stdout": subprocess.DEVNULL, "stderr": theirs} if stderr else {
        "stdout": theirs, "stderr": subprocess.DEVNULL,
    }  # fmt: skip
    with subprocess.Popen(
        [COMMAND, *arguments], stdin=theirs, env=environment | {"TERM": "xterm"}, **outputs
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as screen:
            while block := screen.read(65536):
                shown += block
    return process.returncode, STYLES.sub("", shown.decode()).replace("\r\n", "\n").splitlines()


@pytest.fixture(scope="module")
def star(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a database with a star, rejects, and runs that ended in several ways."""
    tree = Tree(tmp_path_factory.mktemp("terminal") / "data")
    title = "A title that is longer than any column of a terminal has room for " * 3
    tree.songs("A/A/a.json", *(song(n, title=f"{title}{n}") for n in range(1, 9)))
    events = [event(n, userAgent="Mozilla/5.0 (X11; Linux x86_64) " * 5) for n in range(1, 9)]
    tree.logs("2018/11/2018-11-05-events.json", *events, event(9, page="Home"), b'{"page": ')
    tree.logs("2018/11/2018-11-06-events.json", event(10, ts="soon"), event(11, level=None))
    folders = {"songs": tree.song_folder, "logs": tree.log_folder}
    sparkify_bulk.reload(**folders, dsn=module_database)
    with pytest.raises(SparkifyBulkError):
        sparkify_bulk.reload(**folders, dsn=module_database, max_rejects=0)
    sparkify_bulk.load(**folders, dsn=module_database)
    sparkify_bulk.reload(**folders, dsn=module_database)
    return module_database


LISTINGS = [
    ["rejects"],
    ["rejects", "--by-reason"],
    ["runs"],
    ["show"],
    ["query", "TABLE songplays"],
    ["query", "TABLE users"],
    ["query", "SELECT songplay_id, start_time, location, user_agent FROM songplays"],
    ["query", "SELECT start_time, 12345678901234567890 AS n, title FROM songplays, songs"],
    ["config"],
    ["doctor"],
]


@pytest.mark.every(3)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("arguments", LISTINGS, ids=" ".join)
def test_tables_fit_the_terminal_and_break_no_number(
    star: str, arguments: list[str], width: int
) -> None:
    """No line is longer than the terminal, and every number and date of the whole is shown."""
    dsn = [] if arguments == ["config"] else ["--dsn", star]
    code, lines = at_terminal(width, *arguments, *dsn)
    assert code in (0, 1), lines
    assert max(map(cell_len, lines)) <= width
    if arguments == ["doctor"]:
        return
    whole = run(*arguments, *dsn).stdout
    assert "\x1b" not in whole
    assert "…" not in whole
    shown = "\n".join(lines)
    for cell in re.split(r" {2,}|\n", whole):
        if re.fullmatch(r"[\d,.:T +-]*\d", cell):
            assert cell in shown


@pytest.mark.every(3)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_reports_tables_fit_the_terminal(star: str, tree: Tree, width: int) -> None:
    """Those of a reload, with phases, and those of a plan."""
    tree.logs("a.json", event())
    for command in (["reload", "-v"], ["plan"]):
        target = ["--logs", str(tree.log_folder), "--dsn", star, "--schema", "other"]
        _, lines = at_terminal(width, *command, *target)
        lines = [line for line in lines if ", run " not in line]
        assert lines
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_benchmarks_table_fits_the_terminal(width: int) -> None:
    """It has as many numbers as any."""
    seconds = dict.fromkeys(
        ("median_seconds", "min_seconds", "ratio_to_floor", "client_cpu_seconds",
         "server_cpu_seconds"), 1234.5,
    )  # fmt: skip
    document = {
        "data": {"events_records": 10**6, "events_files": 100, "songs_files": 10**5},
        "server": {
            "settings": {"server_version": "18.4"}, "target": "x", "floor_reads": "files",
            "checkpoint_before_each": True,
        },
        "machine": {"processors": 2, "memory_bytes": 10**10, "processor": "x"},
        "rounds": 3,
        "contenders": [
            {"name": name, "peak_rss_bytes": 10**9, **seconds} for name in contenders.contenders()
        ],
    }  # fmt: skip
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(tables.comparison(document))
    lines = captured.get().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert captured.get().count("1,234.50 s") == 4 * len(document["contenders"])


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("Fairwood-Newbrook, CA", 10, "Fairwood-…"),
        ("log_data/2018/11/2018-11-05-events.json", 30, "…/11/2018-11-05-events.json"),
        ("between 2018-11-01 and then", 15, "between…"),
        ("it has 1,234,567 rows", 12, "it has…"),
        ("it has 12 rows", 11, "it has 12…"),
        ("日本語日本語", 6, "日本…"),
    ],
)
def test_what_is_cut_shows_an_ellipsis_and_no_part_of_a_number(
    text: str, width: int, shown: str
) -> None:
    """A path keeps its end, other text its beginning."""
    assert tables._cut(text, width) == shown  # noqa: SLF001


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (82_900, "82.9 kB"), (999_949, "999.9 kB"), (999_951, "1.0 MB"),
     (10**6, "1.0 MB"), (2_250_000_000, "2.2 GB")],
)  # fmt: skip
def test_a_size_is_told_in_the_unit_that_suits_it(size: int, shown: str) -> None:
    """What is there is never 0.0 of anything."""
    assert units.readable_size(size) == shown


# --- what a run says in the end -------------------------------------------------------------------


def test_the_last_lines_of_a_run_are_its_result(database: str, committed: Path) -> None:
    """What was loaded, what was left out and why, and what to do next; phases only with -v."""
    done = run("reload", committed, "--dsn", database)
    result, skipped, following = done.stdout.splitlines()[-3:]
    assert re.fullmatch(r"done: 2,110 plays, 299 songs in \d+\.\d s", result)
    assert skipped == "388 filtered (page is not NextSong); duplicates: 2 plays, 1 song"
    assert following == "next: sparkify-bulk show --dsn …"
    assert "client CPU" not in done.stdout
    done = run("load", committed, "--dsn", database, "-v")
    assert "client CPU" in done.stdout
    assert "done: nothing new, 307 files unchanged in" in done.stdout


def test_a_run_with_rejects_names_the_command_that_lists_them(database: str, tree: Tree) -> None:
    """Files that could not be read are counted as files, and one is one."""
    tree.logs("a.json", event(), event(2, ts=None))
    (tree.log_folder / "b.json.gz").write_bytes(b"\x1f\x8bnothing")
    words = ["reload", "--logs", str(tree.log_folder), "--schema", "music"]
    done = run(*words, SPARKIFY_BULK_DSN=database)
    assert done.returncode == 3
    said = "1 file could not be read; 1 record was rejected: 1 missing_field"
    assert said in done.stderr
    assert done.stdout.splitlines()[-2:] == [
        said, "next: sparkify-bulk rejects --schema music, sparkify-bulk show --schema music",
    ]  # fmt: skip


@pytest.mark.full
def test_progress_labels_its_columns(database: str, committed: Path) -> None:
    """At any width; the last frame shows every phase with what it handled."""
    for width in WIDTHS:
        code, lines = at_terminal(width, "reload", str(committed), "--dsn", database, stderr=True)
        assert code == 0
        labels = {"phase", "files", "records/s", "left/took"} | ({"size"} if width > 60 else set())
        assert set(lines[-6].split()) == labels
        assert re.search(r"stage events .* 7 .*[\d.]+k? +\d\d:\d\d", lines[-3])
        assert max(map(cell_len, lines[-6:])) <= width


def test_something_is_shown_before_heavy_modules_are_imported(tree: Tree) -> None:
    """They take longer than anybody likes to wait: here they can't be imported at all."""
    tree.logs("a.json", event())
    code = (
        "import sys\nsys.modules |= dict.fromkeys(('polars', 'psycopg'))\n"
        "from sparkify_bulk.cli import main\nmain()"
    )
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", code, "reload", "--logs", tree.log_folder],
        stdout=subprocess.DEVNULL, stderr=theirs, env=os.environ | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as screen:
        while block := screen.read(65536):
            shown += block
    assert done.wait(PATIENCE_SECONDS) == 1
    assert b"starting" in shown.partition(b"Traceback")[0]


def test_what_takes_long_at_the_first_start_is_named(
    committed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of the phase, while it lasts."""
    with tempfile.TemporaryDirectory(prefix="sb-", dir=fast_folder()) as folder:
        home = Path(folder, "home")
        Path(folder).chmod(0o711)
        monkeypatch.setenv("SPARKIFY_BULK_HOME", str(home))
        try:
            code, lines = at_terminal(80, "reload", str(committed), stderr=True)
        finally:
            embedded.stop(home)
    assert code == 0
    assert "creating the embedded PostgreSQL" in "".join(lines)
    assert "starting the embedded PostgreSQL" in "".join(lines)


# --- rejects --------------------------------------------------------------------------------------


def test_rejects_say_which_run_they_are_of(star: str) -> None:
    """A command line that is wrong leaves no run: what is shown is the run before."""
    code, _ = at_terminal(80, "reload", "--dsn", star)
    assert code == 2
    _, lines = at_terminal(80, "rejects", "--dsn", star)
    assert re.fullmatch(r"Run 4 \(reload, started [\d-]+ [\d:]+\)", lines[0])
    _, lines = at_terminal(120, "rejects", "--dsn", star, "--run", "1")
    assert lines[0].startswith("Run 1 (reload, ")
    assert lines[1].split()[:4] == ["file", "line", "offset", "bytes"]


def test_without_a_run_there_is_nothing_to_list_or_to_write(database: str, tmp_path: Path) -> None:
    """A file that held nothing would seem to be of a run."""
    file = tmp_path / "rejects.ndjson"
    for arguments in ([], ["--output", str(file)]):
        done = run("rejects", "--dsn", database, *arguments)
        assert (done.returncode, done.stdout) == (0, "No runs yet, so no rejects.\n")
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--run", "99"], "there is no run 99"),
        (["replay", "--run", "99"], "there is no run 99"),
        (["--run", "99", "--json"], "there is no run 99"),
        (["--reason", "typo"], "malformed_json"),
        (["--limit", "-1"], "--limit"),
    ],
)
def test_rejects_that_cannot_be_are_an_error(star: str, arguments: list[str], said: str) -> None:
    """An empty list would say that all is well."""
    done = run("rejects", *arguments, SPARKIFY_BULK_DSN=star)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_table_of_rejects_has_a_limit_and_says_so(database: str, tree: Tree) -> None:
    """An export and JSON have all of them, and the export says what it wrote."""
    tree.logs("a.json", *(event(n, ts=None) for n in range(150)))
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database)

    def rejects(*arguments: str) -> tuple[str, str]:
        done = run("rejects", "--dsn", database, *arguments)
        assert done.returncode == 0
        return done.stdout, done.stderr

    shown, said = rejects()
    assert shown.count("missing_field") == 100
    assert "Only the first 100" in said
    shown, said = rejects("--limit", "150")
    assert (shown.count("missing_field"), said) == (150, "")
    assert [json.loads(line)["line"] for line in rejects("--json")[0].splitlines()] == [
        *range(1, 151)
    ]
    file = tree.root / "rejects.ndjson"
    assert rejects("--output", str(file))[0] == f"Written: 150 rejects of run 1 to {file}\n"
    assert len(file.read_bytes().splitlines()) == 150


def test_every_reason_of_the_rules_can_be_asked_for() -> None:
    """The option knows the codes that the rules explain."""
    rules = (Path(__file__).parent.parent / "docs" / "rules.md").read_text()
    explained = rules.partition("## Reasons of rejects")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE)) == REASONS


# --- what commands say, and what they know --------------------------------------------------------


def test_what_writes_a_file_says_which(star: str, tmp_path: Path) -> None:
    """The page has a name where none is given."""
    done = run("report", "--dsn", star, folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Written: sparkify-report.html\n")
    assert (tmp_path / "sparkify-report.html").read_text().startswith("<!doctype html>")
    done = run("schema", "--svg", "star.svg", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Written: star.svg\n")
    done = run("schema", "--svg", "-", folder=tmp_path)
    assert "<svg" in done.stdout
    assert "Written" not in done.stdout


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (["show", ""], statements.questions()),
        (["show", "most_p"], ["most_played_songs"]),
        (["rejects", "--reason", "un"], ["unstorable_text", "unreadable_file"]),
        (["bench", "--contender", "cop"], ["copy-write-row", "copy-csv", "copy-binary"]),
    ],
)
def test_completion_knows_questions_reasons_and_contenders(
    words: list[str], known: list[str]
) -> None:
    """As a shell asks for them."""
    asked = {
        "_SPARKIFY_BULK_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["sparkify-bulk", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = "from sparkify_bulk.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env=os.environ | asked,
    )  # fmt: skip
    assert done.stdout.split() == [f"plain,{word}" for word in known]


def test_help_of_show_lists_the_questions() -> None:
    """Each with what it asks; an unknown one names them too."""
    shown = run("show", "--help").stdout
    for name in statements.questions():
        title = statements.read(f"analysis/{name}").splitlines()[0].removeprefix("-- ")
        assert re.search(rf"^  {name} +{re.escape(title)}$", shown, re.MULTILINE)
        assert name in run("show", "no_such_question").stderr


def test_nothing_of_the_drivers_own_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What it couldn't do on a lost connection nobody needs to know; the loss is an error."""
    psycopg.connect  # noqa: B018 - imported, it has its logger
    driver = logging.getLogger("psycopg")
    driver.warning("error ignored in rollback on %s: %s", "x", "y")
    driver.warning("query cancellation failed: %s", "x")
    assert caplog.records == []


def test_a_server_that_dies_in_a_run_shows_nothing_of_the_driver(database: str, tree: Tree) -> None:
    """The run says what happened and what to do, and nothing else."""
    tree.logs("a.json", event())
    run("reload", "--logs", str(tree.log_folder), "--dsn", database)
    with psycopg.connect(database, autocommit=True) as reader, reader.transaction():
        # The switch waits for this reader.
        reader.execute("SELECT count(*) FROM sparkify.songplays")
        process = subprocess.Popen(
            [COMMAND, "reload", "--logs", tree.log_folder, "--dsn", database, "--retries=0"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        said = "".join(
            itertools.takewhile(lambda line: "complete star" not in line, process.stderr)
        )
        reader.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'sparkify_bulk' AND datname = current_database()"
        )
        said += process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == 4
    assert "Error: " in said
    assert "ignored" not in said
    assert "Traceback" not in said
