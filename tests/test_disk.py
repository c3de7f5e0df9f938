"""A disk that is full: the server's, and the one that a report is written to."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import SERVER, lack
from fault_child import BOTH
from fault_ground import (
    DATABASE,
    REJECTED,
    TOTALS,
    Ground,
    check_after,
    halted,
)
from servers import running, wait_until_up
from trees import read_star

BLOCK = 2**20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Return a server whose disk can be filled."""
    if os.geteuid() != 0:
        lack("a disk of its own takes root")
    with running(SERVER, disk="700m") as server:
        yield Ground.prepared(server, tmp_path_factory.mktemp("disk"))


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte; return what fills it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(BLOCK))
        except OSError:
            return filler


@pytest.mark.covering
@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize("point", ["run on record", "first byte of COPY", "users merged"])
def test_a_full_disk_ends_the_run_and_leaves_the_star_whole(
    small: Ground, command: str, point: str
) -> None:
    """It isn't tried again; when there is room, a rerun completes the star."""
    with small.database() as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            # What is logged goes to files that exist: what is full is the room for tables.
            connection.execute("CHECKPOINT")
        with halted(small, command, point, dsn) as run:
            filler = fill(small.server.home)
            try:
                run.go()
                code = run.end()
            finally:
                filler.unlink()
        wait_until_up(dsn)
        TOTALS.fired += "No space left on device" in run.said()
        assert "No space left on device" in run.said()
        assert "make room on the server's disk" in run.said()
        assert code == DATABASE, run.said()
        assert read_star(dsn) == small.before
        check_after(small, command, dsn, "server's disk full")


def test_a_report_that_cannot_be_written_is_said_and_the_star_is_loaded(
    small: Ground,
) -> None:
    """As where standard output goes to a full disk: no traceback, and the code is the run's."""
    with small.database() as dsn, Path("/dev/full").open("wb") as full:
        words = ["reload", str(small.files), "--dsn", dsn, "--json", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-m", "sparkify_bulk", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
        said = done.stderr.decode()
        TOTALS.fired += 1
        assert "Traceback" not in said
        assert "the report can't be written: No space left on device" in said
        assert "its data are in the star" in said
        assert done.returncode == REJECTED
        assert read_star(dsn) == small.after
        check_after(small, "reload", dsn, "client's disk full")
