"""A standby that takes over while a run goes on: unlogged tables are empty there."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import SERVER
from fault_child import BOTH
from fault_ground import (
    REJECTED,
    TOTALS,
    Ground,
    Relay,
    check_after,
    halted,
    relay_to,
    through,
)
from servers import Server, copy_standby, running, wait_until_up
from trees import query, read_star
from waiting import wait_until

SETTINGS = "wal_level = replica\nmax_wal_senders = 4\nhot_standby = on\n"


@pytest.fixture
def primary(tmp_path_factory: pytest.TempPathFactory, _clean_environment: None) -> Iterator[Ground]:
    """Return a server that a standby can follow."""
    with running(SERVER, SETTINGS) as server:
        yield Ground.prepared(server, tmp_path_factory.mktemp("failover"))


@pytest.fixture
def standby(primary: Ground) -> Iterator[Server]:
    """Return a server that follows it."""
    with tempfile.TemporaryDirectory(prefix="spb_") as folder:
        server = copy_standby(primary.server, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.mark.every(2)
@pytest.mark.parametrize("command", BOTH)
def test_a_run_begins_anew_on_the_standby_that_took_over(
    primary: Ground, standby: Server, command: str
) -> None:
    """What was staged is lost with the old primary; the star is whole, and completed on the new."""
    with primary.database() as dsn, relay_to(primary.server) as relay:
        with halted(primary, command, "users merged", through(relay, dsn), "--retries=3") as run:
            wait_until_replayed(primary.server, standby)
            primary.server.stop("immediate")
            standby.control("promote")
            fail_over(relay, standby)
            TOTALS.fired += 1
            run.go()
            assert run.end() == REJECTED, run.said()
            assert "trying again" in run.said()
        here = standby.dsn(dsn.rpartition("dbname=")[2])
        assert read_star(here) == primary.after
        check_after(primary, command, here, "failover to a standby")
        primary.server.start()


def fail_over(relay: Relay, standby: Server) -> None:
    """Let the relay lead to the standby, as an address that moves does."""
    wait_until_up(standby.dsn("postgres"))
    relay.target = standby
    relay.cut()


def wait_until_replayed(primary: Server, standby: Server) -> None:
    """Wait until the standby has all that the primary has logged."""
    ((position,),) = query(primary.dsn("postgres"), "SELECT pg_current_wal_flush_lsn()::text")
    with psycopg.connect(standby.dsn("postgres"), autocommit=True) as connection:
        behind = "SELECT pg_last_wal_replay_lsn() < %s::pg_lsn"
        wait_until(
            lambda: connection.execute(behind, (position,)).fetchone() == (False,),
            "the standby stays behind",
        )
