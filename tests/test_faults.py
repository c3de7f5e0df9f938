"""Whatever ends a run, wherever: a plain rerun loses nothing, doubles nothing, leaves nothing."""

import contextlib
import random
import resource
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import SERVER
from fault_child import BOTH, POINTS
from fault_ground import (
    BUSY,
    DATABASE,
    FAULTS,
    PATIENCE_SECONDS,
    REJECTED,
    TOTALS,
    Cell,
    Ground,
    Halting,
    cells,
    check_after,
    count_differences,
    end_sessions,
    halted,
    points_while_locked,
    random_cell,
    rejects,
    relay_to,
    run_cell,
    take_all_connections,
    through,
    wait_until_somebody_waits,
    write_night,
)
from psycopg import sql
from servers import running
from trees import Tree, drop_star, query, read_star, slow_star

import sparkify_bulk
from sparkify_bulk.errors import SparkifyBulkError


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, _clean_environment: None) -> Iterator[Ground]:
    """Return a server that may be crashed, and a star on it."""
    with running(SERVER, "restart_after_crash = on\n") as server:
        yield Ground.prepared(server, tmp_path_factory.mktemp("faults"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each cell of the matrix."""
    everything = metafunc.config.getoption("--all-cells")
    if metafunc.definition.get_closest_marker("parametrize"):
        return
    if "fault" in metafunc.fixturenames:
        chosen = cells(everything=everything)
        metafunc.parametrize(("command", "point", "fault"), list(chosen))
    elif "point" in metafunc.fixturenames:
        metafunc.parametrize(("command", "point"), list(points_while_locked(everything=everything)))


@pytest.mark.covering
def test_a_run_that_meets_a_fault_leaves_a_whole_star_and_a_rerun_completes_it(
    ground: Ground, command: str, point: str, fault: str
) -> None:
    """The star is the old one or the new one, and after a rerun as if nothing had happened."""
    run_cell(ground, command, point, fault)


# --- two at once ----------------------------------------------------------------------------------


@pytest.mark.every(8)
def test_a_second_run_is_told_who_holds_the_star_and_the_first_one_ends_well(
    ground: Ground, command: str, point: str
) -> None:
    """It exits 5, and changes nothing; wherever the first run is."""
    with ground.database() as dsn, halted(ground, command, point, dsn) as run:
        second = Halting("load", ground.files, dsn, "")
        code = second.end()
        TOTALS.fired += code == BUSY
        assert code == BUSY, second.said()
        assert "run 2" in second.said() or "not recorded yet" in second.said()
        run.go()
        assert run.end() == REJECTED, run.said()
        assert read_star(dsn) == ground.after
        check_after(ground, command, dsn, "second run")


# --- what others do -------------------------------------------------------------------------------


@pytest.mark.every(8)
def test_what_somebody_makes_beside_the_star_during_a_run_stays(
    ground: Ground, command: str, point: str
) -> None:
    """The run ends well or refuses, the next one refuses by name; once it is moved all goes on."""
    with ground.database() as dsn, halted(ground, command, point, dsn, "--retries=0") as run:
        for schema in ("sparkify_staging", "sparkify_build"):
            query(dsn, f"CREATE SCHEMA IF NOT EXISTS {schema}")
            query(dsn, f"CREATE TABLE {schema}.keep AS SELECT 7 AS a")
        query(
            dsn,
            "CREATE VIEW public.seen AS SELECT a FROM sparkify_staging.keep"
            " UNION ALL SELECT a FROM sparkify_build.keep",
        )
        run.go()
        code = run.end()
        refused = "table sparkify_build.keep" in run.said()
        assert (code, refused) in {(1, True), (REJECTED, False)}, run.said()
        assert read_star(dsn) == (ground.before if refused else ground.after)
        with pytest.raises(SparkifyBulkError, match=r"table sparkify_staging\.keep"):
            ground.rerun(command, dsn)
        assert query(dsn, "SELECT a FROM public.seen") == [(7,), (7,)]
        query(dsn, "ALTER TABLE sparkify_staging.keep SET SCHEMA public")
        query(dsn, "DROP VIEW public.seen; DROP TABLE sparkify_build.keep")
        TOTALS.fired += 1
        check_after(ground, command, dsn, "tables of others")


@pytest.mark.covering
@pytest.mark.parametrize(
    "made", ["CREATE TABLE {}.users AS SELECT 7 AS a", "CREATE VIEW {}.users AS SELECT 7 AS a"]
)
@pytest.mark.parametrize("point", ["staging made", "new tables made", "before COMMIT"])
def test_a_table_that_somebody_makes_under_a_stars_name_during_a_first_run_stays(
    ground: Ground, point: str, made: str
) -> None:
    """Until the new star is there the run refuses at its end, and leaves what somebody made."""
    with ground.database() as dsn:
        for schema in ("sparkify", "sparkify_ledger"):
            query(dsn, f"DROP SCHEMA {schema} CASCADE")
        with halted(ground, "reload", point, dsn, "--retries=0") as run:
            if point == "before COMMIT":
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    query(dsn, "SET lock_timeout = 100; " + made.format("sparkify"))
            else:
                query(dsn, "CREATE SCHEMA IF NOT EXISTS sparkify")
                query(dsn, made.format("sparkify"))
            run.go()
            code = run.end()
        TOTALS.fired += 1
        TOTALS.cells["tables of others"] += 1
        if point == "before COMMIT":
            assert code == REJECTED, run.said()
            assert read_star(dsn) == ground.after
        else:
            assert code == 1, run.said()
            assert "users" in run.said()
            assert query(dsn, "SELECT a FROM sparkify.users") == [(7,)]


# --- the link -------------------------------------------------------------------------------------


@pytest.mark.every(2)
@pytest.mark.parametrize("command", BOTH)
def test_a_lost_answer_to_commit_is_settled_by_asking_the_ledger(
    ground: Ground, command: str
) -> None:
    """The server committed; the run finds that out, and ends well."""
    with ground.database() as dsn, relay_to(ground.server) as relay:
        target = through(relay, dsn)
        with halted(ground, command, "before COMMIT", target, "--retries=0") as run:
            relay.swallow = True
            run.go()
            assert run.end() == REJECTED, run.said()
            assert "the ledger shows that the run was committed" in run.said()
        TOTALS.fired += relay.cuts > 0
        assert relay.cuts
        assert read_star(dsn) == ground.after
        assert rejects(dsn) == ground.rejects[command]
        check_after(ground, command, dsn, "answer to COMMIT lost")


@pytest.mark.every(2)
@pytest.mark.parametrize("command", BOTH)
def test_a_commit_that_never_arrived_is_known_to_have_failed(ground: Ground, command: str) -> None:
    """The link was cut before the server had heard it: the star is the old one."""
    with ground.database() as dsn, relay_to(ground.server) as relay:
        target = through(relay, dsn)
        with halted(ground, command, "before COMMIT", target, "--retries=0") as run:
            relay.cut_after = relay.passed
            run.go()
            assert run.end() == DATABASE, run.said()
        TOTALS.fired += relay.cuts > 0
        assert relay.cuts
        assert read_star(dsn) == ground.before
        check_after(ground, command, dsn, "COMMIT lost")


@pytest.mark.every(20)
@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize("twentieth", range(20))
def test_a_link_cut_after_any_number_of_bytes_leaves_a_whole_star(
    ground: Ground, command: str, twentieth: int
) -> None:
    """A link that fails in the middle of a message, too; the run begins anew by itself."""
    with ground.database() as dsn, relay_to(ground.server) as relay:
        relay.cut_after = (ground.bytes_sent(command) * twentieth + 7) // 20
        run = Halting(command, ground.files, through(relay, dsn), "", "--retries=2")
        code = run.end()
        TOTALS.fired += relay.cuts > 0
        assert relay.cuts
        # A link that fails before the server has said its first word isn't known to work at all.
        assert code == REJECTED or (code == DATABASE and twentieth == 0), run.said()
        assert read_star(dsn) == (ground.after if code == REJECTED else ground.before)
        check_after(ground, command, dsn, "link cut after N bytes")


# --- what passes ----------------------------------------------------------------------------------


@pytest.mark.covering
@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize("fault", ["server crashed", "server restarted", "sessions ended"])
def test_a_run_begins_anew_where_the_server_failed_in_passing(
    ground: Ground, command: str, fault: str
) -> None:
    """It says so, and ends well."""
    with ground.database() as dsn, halted(ground, command, "mid-COPY", dsn, "--retries=1") as run:
        assert FAULTS[fault].strike(Cell(ground, command, POINTS["mid-COPY"], dsn, None, run))
        TOTALS.fired += 1
        run.go()
        assert run.end() == REJECTED, run.said()
        assert "trying again in 2 s" in run.said()
        assert read_star(dsn) == ground.after
        check_after(ground, command, dsn, f"{fault}, retried")


@pytest.mark.every(8)
@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize("point", ["start", "lock taken", "mid-COPY", "users merged"])
def test_a_run_that_finds_the_server_full_begins_anew(
    ground: Ground, command: str, point: str
) -> None:
    """Whether its first connection is refused, or the one after its sessions were ended."""
    with ground.database() as dsn, halted(ground, command, point, dsn, "--retries=5") as run:
        with contextlib.ExitStack() as stack:
            if point != "start":
                assert end_sessions(Cell(ground, command, POINTS[point], dsn, None, run))
            take_all_connections(stack, dsn)
            run.go()
            run.wait_until_said("too many clients")
            TOTALS.fired += 1
        assert run.end() == REJECTED, run.said()
        assert "trying again in" in run.said()
        assert read_star(dsn) == ground.after
        check_after(ground, command, dsn, "server full")


def test_a_load_that_met_a_deadlock_begins_anew(ground: Ground) -> None:
    """Another session locks songs and then artists, the other way round than the load."""
    with ground.database() as dsn, psycopg.connect(dsn) as other:
        # The load is to find the deadlock, not this one.
        other.execute("SET deadlock_timeout = '1h'")
        other.execute("LOCK TABLE sparkify.songs IN EXCLUSIVE MODE")
        with halted(ground, "load", "artists merged", dsn, "--retries=1") as run:
            lock = "LOCK TABLE sparkify.artists IN EXCLUSIVE MODE"
            waiting = threading.Thread(target=other.execute, args=(lock,))
            waiting.start()
            wait_until_somebody_waits(dsn)
            run.go()
            waiting.join(PATIENCE_SECONDS)
            other.rollback()
            assert run.end() == REJECTED, run.said()
        TOTALS.fired += "deadlock detected; trying again" in run.said()
        assert "deadlock detected; trying again" in run.said()
        assert read_star(dsn) == ground.after
        check_after(ground, "load", dsn, "deadlock")


# --- locks and limits -----------------------------------------------------------------------------


@pytest.mark.every(2)
@pytest.mark.parametrize("command", BOTH)
def test_a_run_waits_for_somebody_who_locks_the_star(ground: Ground, command: str) -> None:
    """And ends well when the lock is gone."""
    with ground.database() as dsn, psycopg.connect(dsn) as other:
        with halted(ground, command, "events staged", dsn) as run:
            other.execute("LOCK TABLE sparkify.users")
            run.go()
            wait_until_somebody_waits(dsn)
            TOTALS.fired += 1
            other.rollback()
            assert run.end() == REJECTED, run.said()
        assert read_star(dsn) == ground.after
        check_after(ground, command, dsn, "lock held")


@pytest.mark.every(4)
@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize("point", ["songs read", "events staged"])
def test_limits_of_the_role_end_no_run(ground: Ground, command: str, point: str) -> None:
    """A run waits longer for somebody else's lock, and in its transactions, than the role may."""
    limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
              "idle_session_timeout", "transaction_timeout"]  # fmt: skip
    with ground.database() as dsn, psycopg.connect(dsn) as other:
        known = {name for (name,) in query(dsn, "SELECT name FROM pg_settings")}
        for name in known.intersection(limits):
            limit = sql.SQL("ALTER DATABASE {} SET {} = '1s'")
            database = sql.Identifier(other.info.dbname)
            other.execute(limit.format(database, sql.Identifier(name)))
        other.commit()
        with halted(ground, command, point, dsn, "--retries=0") as run:
            other.execute("LOCK TABLE sparkify.users")
            # As long as the limits, twice over.
            other.execute("SELECT pg_sleep(2)")
            run.go()
            wait_until_somebody_waits(dsn)
            other.execute("SELECT pg_sleep(2)")
            TOTALS.fired += 1
            other.rollback()
            assert run.end() == REJECTED, run.said()
        for name in known.intersection(limits):
            reset = sql.SQL("ALTER DATABASE {} RESET {}")
            other.execute(reset.format(database, sql.Identifier(name)))
        other.commit()
        assert read_star(dsn) == ground.after
        check_after(ground, command, dsn, "limits of the role")


def test_a_load_that_somebody_cancels_says_so_and_leaves_the_star_whole(ground: Ground) -> None:
    """It isn't tried again."""
    with ground.database() as dsn, psycopg.connect(dsn) as other:
        with halted(ground, "load", "events staged", dsn) as run:
            other.execute("LOCK TABLE sparkify.users")
            run.go()
            wait_until_somebody_waits(dsn)
            cancel = """SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            assert other.execute(cancel).fetchall() == [(True,)]
            assert run.end() == DATABASE
        TOTALS.fired += 1
        assert "canceling statement due to user request" in run.said()
        assert "pg_cancel_backend" in run.said()
        other.rollback()
        assert read_star(dsn) == ground.before
        check_after(ground, "load", dsn, "statement cancelled")


@pytest.mark.every(6)
@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize("point", ["songs read", "events staged", "users merged"])
def test_a_run_that_gets_no_more_memory_leaves_the_star_whole(
    ground: Ground, command: str, point: str
) -> None:
    """As under a limit of a container; how it ends is up to the libraries."""
    with ground.database() as dsn, halted(ground, command, point, dsn, "--retries=0") as run:
        resource.prlimit(run.process.pid, resource.RLIMIT_AS, (2**20, 2**20))
        run.go()
        code = run.end()
        TOTALS.fired += code != REJECTED
        assert code not in (0, REJECTED)
        assert read_star(dsn) == ground.before
        check_after(ground, command, dsn, "no memory")


# --- at random ------------------------------------------------------------------------------------


@pytest.mark.covering
@pytest.mark.parametrize("point", ["songs read", "events staged"])
@pytest.mark.parametrize("command", BOTH)
def test_a_table_that_somebody_puts_among_staging_tables_outlives_the_run(
    ground: Ground, command: str, point: str
) -> None:
    """The run ends well and leaves it; the next one refuses it by name, and goes on without it."""
    with ground.database() as dsn:
        with halted(ground, command, point, dsn) as run:
            query(dsn, "CREATE TABLE sparkify_staging.keep AS SELECT 7 AS a")
            TOTALS.fired += 1
            run.go()
            assert run.end() == REJECTED, run.said()
        assert read_star(dsn) == ground.after
        with pytest.raises(SparkifyBulkError, match=r"table sparkify_staging\.keep"):
            ground.rerun(command, dsn)
        query(dsn, "ALTER TABLE sparkify_staging.keep SET SCHEMA public")
        check_after(ground, command, dsn, "foreign table")
        assert query(dsn, "SELECT a FROM public.keep") == [(7,)]


def test_a_star_restored_from_an_older_dump_is_refused_until_a_reload(ground: Ground) -> None:
    """A load would leave out what the ledger has and the star hasn't."""
    options = ["--schema=sparkify", "--clean"]
    with ground.database() as dsn:
        tools = ground.server.binaries
        dump = subprocess.run(
            [tools / "pg_dump", f"--dbname={dsn}", *options], check=True, capture_output=True
        )
        ground.rerun("load", dsn)
        restore = [tools / "psql", f"--dbname={dsn}", "--quiet", "--set=ON_ERROR_STOP=1"]
        subprocess.run(restore, check=True, input=dump.stdout, capture_output=True)
        TOTALS.fired += 1
        assert read_star(dsn) == ground.before
        with pytest.raises(SparkifyBulkError, match="do not belong together"):
            ground.rerun("load", dsn)
        assert read_star(dsn) == ground.before
        ground.rerun("reload", dsn)
        TOTALS.cells["star restored"] += 1
        count_differences(ground.after, read_star(dsn))


@pytest.mark.parametrize("command", BOTH)
def test_kills_at_random_moments_lose_nothing(
    ground: Ground, command: str, pytestconfig: pytest.Config
) -> None:
    """Each is followed by a rerun; `--kills` says how many, `--fault-seed` when."""
    number = pytestconfig.getoption("--kills") // len(BOTH)
    moments = random.Random(f"{command} {pytestconfig.getoption('--fault-seed')}")
    longest = ground.seconds(command)
    for _ in range(number):
        with ground.database() as dsn:
            run = Halting(command, ground.files, dsn, "")
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(moments.uniform(0, longest))
            run.process.kill()
            run.end()
            assert read_star(dsn) in (ground.before, ground.after)
            TOTALS.fired += 1
            check_after(ground, command, dsn, "SIGKILL at random")


def test_a_hundred_nights_with_faults_end_in_the_star_of_all_files(
    ground: Ground, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Logs grow and come anew; what one night misses the next one loads."""
    chance = random.Random(pytestconfig.getoption("--fault-seed"))
    tree = Tree(tmp_path / "data")
    nights = pytestconfig.getoption("--nights")
    with ground.database() as dsn, relay_to(ground.server) as relay:
        drop_star(dsn, "sparkify")
        for night in range(nights):
            write_night(tree, night, chance)
            point, fault = random_cell(chance)
            options = ("--retries=0", "--wait=60")
            run = Halting("load", tree.root, through(relay, dsn), point, *options)
            try:
                if fault and run.says("reached"):
                    strike = FAULTS[fault].strike
                    cell = Cell(ground, "load", POINTS[point], dsn, relay, run)
                    assert strike(cell)
                    TOTALS.fired += 1
                    TOTALS.cells[f"{fault}, one night of {nights}"] += 1
                run.go()
                run.end()
            finally:
                run.close()
        sparkify_bulk.load(tree.root, dsn=dsn, retries=0, wait=PATIENCE_SECONDS)
        count_differences(slow_star(dsn, tree.root), read_star(dsn))
