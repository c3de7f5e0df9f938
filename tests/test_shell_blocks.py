"""The shell blocks of the documentation run as they stand, in the order in which they stand.

A block that can't is marked by a comment before it: `<!-- not run: the reason -->`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from servers import Server, fast_folder

from sparkify_bulk.database import embedded

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>\n]+) -->\n+)?```(?P<language>\S*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHELLS = {"bash", "console", "shell", "zsh"}


def blocks(page: Path) -> list[str]:
    """Return the shell blocks of a page that are to be run."""
    found = FENCE.finditer(page.read_text())
    return [block["text"] for block in found if block["language"] == "sh" and not block["reason"]]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [page for page in PAGES if blocks(page)]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Make a home of the embedded server, where the server's account may go."""
    folder = Path(tempfile.mkdtemp(prefix="spb_docs_", dir=fast_folder()))
    folder.chmod(0o755)
    yield folder / "home"
    embedded.stop(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy this checkout; where it would install itself, it is installed already."""
    copy = tmp_path / "sparkify_bulk"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "bench", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    (copy / ".venv").mkdir()
    (copy / ".venv" / "bin").symlink_to(BIN)
    # The mark by which make knows that nothing is left to install, whoever installed it.
    (copy / ".venv" / ".installed").touch()
    return copy


@pytest.fixture
def warehouse(server: Server) -> Iterator[str]:
    """Make the database that the pages call `service=warehouse`; return its connection string."""
    server.create("warehouse")
    yield server.dsn("warehouse")
    server.drop("warehouse")
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS sparkify_loader, sparkify_analyst")


@pytest.fixture
def environment(tmp_path: Path, home: Path, server: Server, warehouse: str) -> dict[str, str]:
    """Return the environment of somebody who has an embedded server that nobody has used."""
    with psycopg.connect(embedded.ensure_running(home).dsn) as connection:
        for name in ("", "_build", "_staging", "_ledger"):
            connection.execute(f"DROP SCHEMA IF EXISTS sparkify{name} CASCADE")
    service = tmp_path / "service"
    service.write_text("\n".join(["[warehouse]", *warehouse.split(), ""]))
    path = [str(BIN), str(server.binaries), os.environ["PATH"]]
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PGSERVICEFILE": str(service),
        "SPARKIFY_BULK_HOME": str(home),
        # For correctness, not for time.
        "SPARKIFY_BULK_BENCH_EVENTS": "300",
        "SPARKIFY_BULK_BENCH_SONGS": "30",
        "SPARKIFY_BULK_BENCH_ROUNDS": "1",
        "SPARKIFY_BULK_BENCH_CONTENDER": "floor sparkify-bulk",
    }


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(page: Path, checkout: Path, environment: dict[str, str]) -> None:
    """A newcomer who types what the page says gets no error."""
    script = "\n".join(blocks(page))
    done = subprocess.run(
        ["timeout", "300", "bash", "-euxo", "pipefail", "-c", script],
        check=False,
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_escapes(page: Path) -> None:
    """What is typed into a shell is marked as `sh`, and every mark is one of a shell block."""
    text = page.read_text()
    found = [*FENCE.finditer(text)]
    assert {block["language"] for block in found} & SHELLS == set()
    assert text.count("```") == 2 * len(found), "a block is indented or isn't closed"
    marks = [block for block in found if block["reason"]]
    assert text.count("not run:") == len(marks)
    assert {block["language"] for block in marks} <= {"sh"}


def test_the_first_pages_are_run() -> None:
    """Whoever comes new reads these two: few of their blocks are not run."""
    for page in (ROOT / "README.md", ROOT / "docs" / "start.md"):
        unrun = [block for block in FENCE.finditer(page.read_text()) if block["reason"]]
        assert len(unrun) < len(blocks(page)), page
