"""The page about nights: its units, its crontab and its settings do what it says."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, lack
from test_metrics import read
from trees import Tree, song

import sparkify_bulk
from sparkify_bulk.reporting import metrics

PAGE = (ROOT / "docs" / "nightly.md").read_text()
BIN = Path(sys.executable).parent
INSTALLED = "/opt/sparkify-bulk/bin"
METRICS = "/var/lib/prometheus/node-exporter/sparkify_bulk.prom"


def block(start: str) -> str:
    """Return the block of the page that begins with a line."""
    found = re.search(rf"```\w+\n({re.escape(start)}\n.*?)```", PAGE, re.DOTALL)
    assert found, start
    return found[1]


def linked(folder: Path) -> str:
    """Name the command's folder by a link: this checkout's path may need quotes."""
    link = folder / "bin"
    if not link.exists():
        link.symlink_to(BIN)
    return str(link)


def crontab() -> list[str]:
    """Return the commands of the crontab, without the five fields of their time."""
    lines = [line for line in block("# m h  dom mon dow  command").splitlines() if line[0] != "#"]
    return [line.split(maxsplit=5)[5] for line in lines]


def test_systemd_verifies_the_units(tmp_path: Path) -> None:
    """Both units are without a fault, once the command is where they say."""
    analyze = shutil.which("systemd-analyze") or lack("systemd-analyze is not installed")
    for kind in ("service", "timer"):
        name = f"sparkify-bulk.{kind}"
        unit = block(f"# /etc/systemd/system/{name}").replace(INSTALLED, linked(tmp_path))
        (tmp_path / name).write_text(unit)
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no",
         *map(str, sorted(tmp_path.glob("sparkify-bulk.*")))],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def home(database: str, committed: Path, tmp_path: Path) -> Path:
    """Set a user up as the page says: settings, service file, password file, and a mail program."""
    with psycopg.connect(database) as connection:
        server = connection.info
        where = {
            "host": server.host,
            "port": server.port,
            "dbname": server.dbname,
            "user": server.user,
        }
    service = "".join(f"{key}={value}\n" for key, value in where.items())
    (tmp_path / ".pg_service.conf").write_text("[warehouse]\n" + service)
    settings = block("# /etc/sparkify-bulk.toml")
    for there, here in (("/srv/sparkify", str(committed)), (METRICS, str(tmp_path / "star.prom"))):
        assert there in settings
        settings = settings.replace(there, here)
    (tmp_path / "settings.toml").write_text(settings)
    mail = tmp_path / "mail"
    mail.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/mailed; cat >> {tmp_path}/mailed\n')
    mail.chmod(0o755)
    return tmp_path


def as_cron_does(home: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the crontab by sh, in the environment that crontab(5) describes."""
    here = command.replace(INSTALLED, linked(home)).replace(
        "/etc/sparkify-bulk.toml", f"{home}/settings.toml"
    )
    assert here != command
    return subprocess.run(
        ["/bin/sh", "-c", here],
        check=False, capture_output=True, text=True, cwd=home, stdin=subprocess.DEVNULL,
        env={"HOME": str(home), "SHELL": "/bin/sh", "PATH": f"{home}:/usr/bin:/bin"},
    )  # fmt: skip


def test_a_night_under_cron(home: Path, database: str) -> None:
    """In a bare environment the crontab's line loads the star that the service names, and tells."""
    load, prune = crontab()
    done = as_cron_does(home, load)
    # The data of this repository are years old, which is what --max-age is there to tell.
    assert done.returncode == 7, done.stderr
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert ["--max-age 36h is not met" in line["message"] for line in lines] == [True]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM sparkify.songplays").fetchone() == (2110,)
    subject, _, report = (home / "mailed").read_text().partition("\n")
    assert subject.startswith("-s sparkify-bulk load, run 1: done, but the newest event")
    assert subject.endswith("(exit 7) data-team@example.org")
    assert json.loads(report)["stale"] is True
    assert read(home / "star.prom")["last_run_exit_code", "load", "sparkify"] == 7
    assert as_cron_does(home, prune).returncode == 0


def test_a_night_without_a_server(home: Path) -> None:
    """When the server is down, the line fails loudly, and falls back on no other server."""
    service = home / ".pg_service.conf"
    service.write_text(re.sub("host=.*", "host=/nowhere", service.read_text()))
    load, _ = crontab()
    done = as_cron_does(home, load)
    assert done.returncode == 4
    assert "EMBEDDED" not in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == 4
    assert "failed" in (home / "mailed").read_text().partition("\n")[0]


def test_the_unit_and_the_crontab_run_the_same_load() -> None:
    """What the service starts is what the crontab's line starts."""
    unit = block("# /etc/systemd/system/sparkify-bulk.service")
    started = re.search("ExecStart=(.*)", unit)
    assert started
    assert shlex.split(crontab()[0])[:-1] == shlex.split(started[1])


@pytest.mark.parametrize("name", ["README.md", "docs/start.md"])
def test_the_crontab_of_the_first_pages_runs_as_it_stands(
    name: str, home: Path, committed: Path, database: str
) -> None:
    """Under cron the line loads the star that the service names; nothing is there to mail."""
    found = re.findall(r"```cron\n(.*)\n```", (ROOT / name).read_text())
    (line,) = found
    command = line.split(maxsplit=5)[5].replace("/srv/sparkify", shlex.quote(str(committed)))
    done = as_cron_does(home, command)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM sparkify.songplays").fetchone() == (2110,)


@pytest.mark.parametrize("name", ["README.md", "docs/start.md", "docs/install.md"])
def test_three_lines_install_the_command_where_the_crontabs_look(name: str) -> None:
    """Each page has the same three lines, which CI runs; they end in the command's full path."""
    (lines,) = re.findall(
        r"^python3 -m venv /opt/(?:.+\n)*", (ROOT / name).read_text(), re.MULTILINE
    )
    lines = lines.removesuffix("```\n")
    assert lines.splitlines() == [
        "python3 -m venv /opt/sparkify-bulk",
        f"{INSTALLED}/pip install .",
        f"{INSTALLED}/sparkify-bulk --version",
    ]


def test_the_page_names_every_metric_that_its_rules_use() -> None:
    """The alerts ask for metrics that are written."""
    used = set(re.findall(r"sparkify_bulk_(\w+_seconds)", block("- alert: StarNotLoaded")))
    assert used
    assert used <= {metric.name for metric in metrics.DECLARED}


def test_a_star_without_events_is_told_with_the_age_that_is_not_met(
    database: str, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no newest event to name."""
    tree.songs("a.json", song())
    report = sparkify_bulk.load(songs=tree.song_folder, dsn=database, max_age=timedelta(hours=36))
    assert report.exit_code == 7
    assert "No events loaded yet; --max-age 36h is not met" in caplog.messages
