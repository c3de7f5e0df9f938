"""A cable that is pulled: nobody says anything any more, and both ends must find that out.

A second host is made on this machine: a network namespace with a virtual cable to it, which takes
root.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import psycopg
import pytest
from conftest import SERVER, lack
from fault_child import BOTH
from fault_ground import (
    DATABASE,
    REJECTED,
    TOTALS,
    Ground,
    Halting,
    check_after,
    halted,
    locks,
    wait_until_somebody_waits,
)
from servers import free_port, running
from trees import read_star
from waiting import wait_until

# Processes that run tests side by side have a network of four addresses each.
_NETWORK = os.getpid() % 2**14
HERE, THERE = (f"10.213.{_NETWORK // 64}.{_NETWORK % 64 * 4 + number}" for number in (1, 2))
SETTINGS = f"listen_addresses = '{HERE}'\n"


def ip(*words: str) -> None:
    """Change the network."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def pull(cable: str) -> None:
    """Lose everything that is sent either way, as where a cable is pulled behind a switch.

    By a neighbour's address that is nobody's: an interface that is down would be seen at once.
    """
    nobody = ("lladdr", "02:00:00:00:00:09", "nud", "permanent")
    _neighbours("replace", cable, *nobody)


def plug_in(cable: str) -> None:
    """Let what is sent arrive again: each host asks for the other's address anew."""
    _neighbours("delete", cable)


def _neighbours(what: str, cable: str, *words: str) -> None:
    other = cable.replace("spb", "spc")
    ip("neigh", what, THERE, "dev", cable, *words)
    ip("-n", other, "neigh", what, HERE, "dev", other, *words)


@pytest.fixture(scope="session")
def cable() -> Iterator[str]:
    """Lay a cable between this host and another one; return the name of its end here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        lack("a host of its own takes root, and ip of iproute2")
    end, other = f"spb{os.getpid()}", f"spc{os.getpid()}"
    ip("netns", "add", other)
    try:
        ip("link", "add", end, "type", "veth", "peer", "name", other, "netns", other)
        ip("address", "add", f"{HERE}/30", "dev", end)
        ip("link", "set", end, "up")
        ip("-n", other, "address", "add", f"{THERE}/30", "dev", other)
        ip("-n", other, "link", "set", other, "up")
        yield end
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "delete", end)
        ip("netns", "delete", other)


@pytest.fixture(scope="session")
def remote(
    cable: str, tmp_path_factory: pytest.TempPathFactory, _clean_environment: None
) -> Iterator[Ground]:
    """Return a server that listens on the cable."""
    assert cable
    with running(SERVER, SETTINGS, port=free_port()) as server:
        with (server.data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {THERE}/32 trust\n")
        server.control("reload")
        yield Ground.prepared(server, tmp_path_factory.mktemp("cable"))


def halted_there(
    ground: Ground, cable: str, command: str, point: str, dsn: str
) -> contextlib.AbstractContextManager[Halting]:
    """Start a run on the other host, and wait until it halts at a point."""
    database = dsn.rpartition("dbname=")[2]
    there = ["ip", "netns", "exec", cable.replace("spb", "spc")]
    target = f"host={HERE} port={ground.server.port} user=postgres dbname={database}"
    return halted(ground, command, point, target, "--retries=0", before=there)


@pytest.mark.every(12)
@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize("point", ["mid-COPY", "users merged", "before COMMIT"])
def test_a_pulled_cable_ends_the_run_and_frees_the_lock(
    remote: Ground, cable: str, command: str, point: str
) -> None:
    """Keepalives tell both ends; without them they would wait for hours."""
    with remote.database() as dsn:
        with halted_there(remote, cable, command, point, dsn) as run:
            assert locks(dsn) == 1
            pull(cable)
            pulled = time.monotonic()
            try:
                run.go()
                wait_until(lambda: not locks(dsn), "the server keeps the lock")
                freed = time.monotonic() - pulled
                if point != "before COMMIT":
                    assert run.end() == DATABASE, run.said()
                    TOTALS.note(
                        f"{command}, {point}: lock freed after {freed:.1f} s, "
                        f"run ended after {time.monotonic() - pulled:.1f} s"
                    )
            finally:
                plug_in(cable)
            # A run that was to commit asks the ledger what became of it, once it can.
            assert run.end() == DATABASE, run.said()
        TOTALS.fired += 1
        assert read_star(dsn) == remote.before
        check_after(remote, command, dsn, "cable pulled")


@pytest.mark.every(2)
@pytest.mark.parametrize("answered", [False, True], ids=["at work", "answers"])
def test_a_cable_pulled_while_the_server_works_ends_the_run_and_frees_the_lock(
    remote: Ground, cable: str, answered: bool
) -> None:
    """The client has sent all, and waits; the server is busy, or has an answer nobody will get."""
    with remote.database() as dsn:
        with (
            psycopg.connect(dsn) as other,
            halted_there(remote, cable, "load", "events staged", dsn) as run,
        ):
            other.execute("LOCK TABLE sparkify.users")
            run.go()
            wait_until_somebody_waits(dsn)
            assert locks(dsn) == 1
            pull(cable)
            try:
                if answered:
                    other.rollback()
                wait_until(lambda: not locks(dsn), "the server keeps the lock")
                assert run.end() == DATABASE, run.said()
            finally:
                plug_in(cable)
        TOTALS.fired += 1
        assert read_star(dsn) == remote.before
        check_after(remote, "load", dsn, "cable pulled while the server works")


@pytest.mark.every(2)
@pytest.mark.parametrize("command", BOTH)
def test_a_cable_pulled_for_a_moment_does_no_harm(remote: Ground, cable: str, command: str) -> None:
    """What was lost is sent again."""
    with remote.database() as dsn:
        with halted_there(remote, cable, command, "mid-COPY", dsn) as run:
            pull(cable)
            run.go()
            plug_in(cable)
            assert run.end() == REJECTED, run.said()
        TOTALS.fired += 1
        assert read_star(dsn) == remote.after
        check_after(remote, command, dsn, "cable pulled for a moment")
