"""What follows a run: metrics, word to somebody, log lines as JSON, word of a stale star."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command import COMMAND, run
from test_metrics import read
from trees import Tree, event, query, song

from sparkify_bulk import cli, pipeline
from sparkify_bulk.report import Report
from sparkify_bulk.reporting import notify

NOTIFY = 'cat > {0}/report.json; echo "$SPARKIFY_BULK_EXIT_CODE $SPARKIFY_BULK_STATUS" > {0}/word'


def recent(tree: Tree, age: timedelta) -> Tree:
    """Add a play that began so long ago."""
    began = datetime.now(UTC) - age
    tree.logs("now.json", event(ts=int(began.timestamp() * 1000)))
    return tree


def test_a_run_that_goes_well_writes_metrics_and_notifies_nobody(
    database: str, committed: Path, tmp_path: Path
) -> None:
    """Metrics are written in the end; the notify command isn't run after a plain success."""
    done = run(
        "reload", str(committed), "--dsn", database, "--quiet",
        "--metrics", str(tmp_path / "star.prom"), "--notify-command", NOTIFY.format(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert read(tmp_path / "star.prom")["table_rows", "sparkify", "songplays"] == 2110
    assert not (tmp_path / "word").exists()


def test_rejects_are_told_of_with_the_report(database: str, tree: Tree, tmp_path: Path) -> None:
    """After rejects the notify command gets the JSON report, and the exit code in a variable."""
    tree.logs("a.json", event(), b"{broken")
    done = run(
        "load", str(tree.root), "--dsn", database, "--quiet",
        "--notify-command", NOTIFY.format(tmp_path),
    )  # fmt: skip
    assert done.returncode == 3
    assert (tmp_path / "word").read_text() == "3 succeeded_with_rejects\n"
    assert json.loads((tmp_path / "report.json").read_text())["rejects"]["count"] == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["no-such-folder", "--dsn", "host=/nowhere"], 2),
        (["{committed}", "--dsn", "host=/nowhere", "--retries", "0"], 4),
    ],
    ids=["folder missing", "server down"],
)
def test_failures_are_told_of_wherever_they_are(
    committed: Path, tmp_path: Path, arguments: list[str], code: int
) -> None:
    """A folder that isn't mounted or a server that is down notifies, and is in the metrics."""
    done = run(
        "load", *(a.format(committed=committed) for a in arguments),
        "--metrics", str(tmp_path / "star.prom"), "--notify-command", NOTIFY.format(tmp_path),
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert (tmp_path / "word").read_text() == f"{code} failed\n"
    assert json.loads((tmp_path / "report.json").read_text())["error"]
    assert read(tmp_path / "star.prom")["last_run_exit_code", "load", "sparkify"] == code


def test_a_reload_that_would_empty_the_star_is_told_of(
    database: str, tree: Tree, tmp_path: Path
) -> None:
    """Exit code 8 is in the report, the metrics, the ledger and the word to somebody."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    arguments = ("reload", str(tree.root), "--dsn", database)
    assert run(*arguments).returncode == 0
    (tree.log_folder / "a.json").unlink()
    done = run(
        *arguments, "--json", "--metrics", str(tmp_path / "star.prom"),
        "--notify-command", NOTIFY.format(tmp_path),
    )  # fmt: skip
    assert done.returncode == 8, done.stderr
    assert "no event logs" in done.stderr
    assert json.loads(done.stdout)["error"]
    assert (tmp_path / "word").read_text() == "8 failed\n"
    assert read(tmp_path / "star.prom")["last_run_exit_code", "reload", "sparkify"] == 8
    (on_record, _) = run("runs", "--json", "--dsn", database).stdout.splitlines()
    assert json.loads(on_record)["exit_code"] == 8
    assert run(*arguments, SPARKIFY_BULK_MAX_SHRINK="1").returncode == 0
    assert run(*arguments, "--max-shrink", "1.5").returncode == 2
    assert run(*arguments, "--max-shrink", "nan").returncode == 2


@pytest.mark.covering
@pytest.mark.parametrize("command", ["reload", "load"])
@pytest.mark.parametrize("option", ["--metrics", "--report"])
def test_what_cannot_be_written_after_a_run_changes_no_exit_code(
    *, database: str, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, command: str, option: str,
) -> None:  # fmt: skip
    """The data are in: the code is the run's, an error says what is missing, somebody is told."""
    tree.logs("a.json", event())
    folder = tmp_path / "out"
    folder.mkdir()
    story = getattr(pipeline, command)

    def run_and_lose_the_folder(*args: Any) -> Report:
        report: Report = story(*args)
        folder.rmdir()
        return report

    monkeypatch.setattr(pipeline, command, run_and_lose_the_folder)
    words = [command, str(tree.root), "--dsn", database, option, str(folder / "file")]
    words += ["--notify-command", NOTIFY.format(tmp_path)]
    done = CliRunner().invoke(cli.cli, words, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    assert "After the run: " in caplog.text
    assert (tmp_path / "word").read_text() == "0 succeeded\n"
    (last,) = query(database, "SELECT status, exit_code FROM sparkify_ledger.runs")
    assert last == ("succeeded", 0)


@pytest.mark.covering
@pytest.mark.parametrize("command", ["reload", "load"])
@pytest.mark.parametrize("as_json", [True, False])
def test_a_closed_stdout_changes_no_exit_code(
    database: str, tree: Tree, tmp_path: Path, *, command: str, as_json: bool
) -> None:
    """Somebody reads no line of the report, as `| true` does: the run is a success all the same."""
    tree.logs("a.json", event(), b"{broken")
    read_end, write_end = os.pipe()
    os.close(read_end)
    words = [command, str(tree.root), "--dsn", database, "--metrics", str(tmp_path / "star.prom")]
    done = subprocess.run(
        [COMMAND, *words, *(["--json"] if as_json else [])],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert done.returncode == 3, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    found = read(tmp_path / "star.prom")
    assert found["last_run_exit_code", command, "sparkify"] == 3
    assert found["table_rows", "sparkify", "songplays"] == 1


def test_a_closed_stdout_changes_no_code_of_failure(database: str, tree: Tree) -> None:
    """Nor does it for a run that fails."""
    tree.logs("a.json", event(), b"{broken")
    read_end, write_end = os.pipe()
    os.close(read_end)
    words = ["load", str(tree.root), "--dsn", database, "--json", "--max-rejects", "0"]
    done = subprocess.run([COMMAND, *words], stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert done.returncode == 6, done.stderr
    assert b"Traceback" not in done.stderr


def test_metrics_that_could_not_be_written_are_refused_before_the_run(
    database: str, committed: Path, tmp_path: Path
) -> None:
    """A file in a folder that doesn't exist is an error of usage, and nothing is loaded."""
    path = tmp_path / "missing" / "star.prom"
    done = run("reload", str(committed), "--dsn", database, "--metrics", str(path))
    assert done.returncode == 2
    assert f"--metrics {path}" in done.stderr
    assert run("runs", "--dsn", database).stdout == "No runs.\n"


def test_a_notify_command_that_fails_changes_nothing(database: str, tree: Tree) -> None:
    """Its end is logged with what it said, and the exit code stays the run's."""
    tree.logs("a.json", event(), b"{broken")
    command = "echo no such mailbox; exit 9"
    done = run("load", str(tree.root), "--dsn", database, "--notify-command", command)
    assert done.returncode == 3
    assert "notify command ended with 9: no such mailbox" in done.stderr


def test_a_notify_command_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets its time and no more."""
    monkeypatch.setattr(notify, "_PATIENCE_SECONDS", 0.1)
    notify.notify("exec cat /dev/zero >/dev/null", Report("load", datetime.now(UTC)), 1)
    assert "timed out" in caplog.text


def test_a_stale_star_is_loaded_and_exits_7(database: str, tree: Tree, tmp_path: Path) -> None:
    """With --max-age, an old newest event notifies and exits 7; a recent one exits 0."""
    recent(tree, timedelta(hours=40))
    arguments = ["load", str(tree.root), "--dsn", database, "--json"]
    notifying = ["--notify-command", NOTIFY.format(tmp_path)]
    done = run(*arguments, "--max-age", "36h", *notifying)
    report = json.loads(done.stdout)
    assert done.returncode == 7, done.stderr
    assert (report["status"], report["stale"]) == ("succeeded", True)
    assert report["tables"]["songplays"]["rows"] == 1
    assert (tmp_path / "word").read_text() == "7 succeeded\n"
    assert "--max-age 36h is not met" in done.stderr
    assert run(*arguments, "--max-age", "2d").returncode == 0


@pytest.mark.every(3)
@pytest.mark.parametrize(
    ("record", "options", "code", "verdict"),
    [
        (b"{broken", [], 3, "Loaded, but 1 record was rejected"),
        (b"{broken", ["--max-rejects", "0"], 6, "The run failed"),
        (event(2), ["--max-age", "1m"], 7, "Loaded, but the star has no recent event"),
    ],
    ids=["rejects", "failure", "stale"],
)
def test_the_page_of_a_run_is_written_however_it_ends(
    *, database: str, tree: Tree, tmp_path: Path,
    record: Any, options: list[str], code: int, verdict: str,
) -> None:  # fmt: skip
    """With --report, a page tells of the run: one with rejects, one that failed, a stale star."""
    tree.logs("a.json", event(), record)
    page = tmp_path / "run.html"
    done = run("load", str(tree.root), "--dsn", database, "--report", str(page), *options)
    assert done.returncode == code, done.stderr
    assert verdict in page.read_text()


def test_no_page_where_the_run_is_not_on_record(committed: Path, tmp_path: Path) -> None:
    """A server that is down leaves no page behind, and says so; the exit code is the run's."""
    page = tmp_path / "run.html"
    done = run("load", str(committed), "--dsn", "host=/nowhere", "--report", str(page))
    assert done.returncode == 4
    assert "No page was written" in done.stderr
    assert not page.exists()


def test_a_star_without_events_is_stale(database: str, tree: Tree) -> None:
    """A star that never got an event is as stale as can be."""
    tree.songs("a.json", song())
    done = run("reload", str(tree.root), "--dsn", database, "--max-age", "36h")
    assert done.returncode == 7, done.stderr


@pytest.mark.parametrize("age", ["36", "h", "-3h", "1.5d", "3w", ""])
def test_an_age_that_is_none_is_refused(age: str) -> None:
    """What can't be read as a span of time is an error of usage that says how to write one."""
    done = run("load", "data", "--max-age", age)
    assert done.returncode == 2
    assert "90m, 36h or 2d" in done.stderr


def test_log_lines_are_json_to_the_last(database: str, tree: Tree) -> None:
    """With --log-format json each line of stderr is an object; phases have their figures apart."""
    tree.logs("a.json", event(), b"{broken")
    done = run("load", str(tree.root), "--dsn", database, "--log-format", "json", "-v")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"time", "level", "message"} <= set.intersection(*(set(line) for line in lines))
    staged = next(line for line in lines if line.get("phase") == "stage events")
    assert staged["records"] == 2
    assert any(line["level"] == "warning" and "rejected" in line["message"] for line in lines)


def test_what_ends_a_run_is_json_too(committed: Path) -> None:
    """Errors come with their hint and exit code as a JSON line, wrong usage among them."""
    done = run("load", "no-such-folder", "--log-format", "json")
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["exit_code"]) == ("error", 2)
    assert "no-such-folder" in line["message"]
    assert line["hint"]
    dsn = "postgresql://me:s3cr3t%22x@localhost:1/music"
    done = run(
        "load", str(committed), "--retries", "0", "--log-format", "json", SPARKIFY_BULK_DSN=dsn
    )
    assert "s3cr3t" not in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == 4
