"""What all tests share: a real PostgreSQL, a fresh database for each test, trees of input files."""

import contextlib
import itertools
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import psycopg
import pytest
import sizes
from buckets import Bucket, Container, Filled, Service, running_azurite, running_service
from fault_ground import TOTALS
from servers import Server, running
from trees import Tree

from sparkify_bulk.database.connection import Connection
from sparkify_bulk.source import bucket_access

ROOT = Path(__file__).parent.parent
SERVER = os.environ.get("SPARKIFY_BULK_TEST_SERVER", "18")
SAMPLE = Path(os.environ.get("SPARKIFY_BULK_SAMPLE", ROOT.parent / "shared" / "sparkify"))

hypothesis.settings.register_profile(
    "database",
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.data_too_large,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
    print_blob=True,
)
hypothesis.settings.load_profile("database")

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests be more, and others."""
    parser.addoption("--full", action="store_true", help="every case, and all examples")
    parser.addoption("--all-cells", action="store_true", help="both commands in every cell")
    parser.addoption("--kills", type=int, help="runs killed at random moments")
    parser.addoption("--nights", type=int, help="nights of the soak")
    parser.addoption("--reads", type=int, help="reads while a star is switched")
    parser.addoption("--fault-seed", type=int, default=1, help="of the faults at random")


def pytest_configure(config: pytest.Config) -> None:
    """Decide how much is tried."""
    sizes.configure(config)
    for name, number in (("kills", 50), ("nights", 100), ("reads", 500)):
        if getattr(config.option, name) is None:
            setattr(config.option, name, sizes.share(number))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs at full size only."""
    sizes.thin_out(config, items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker's fault tests came to over, where tests run side by side."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = TOTALS.to_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker's fault tests came to."""
    if faults := getattr(node, "workeroutput", {}).get("faults"):
        TOTALS.add(faults)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the fault tests came to, where there were any."""
    if TOTALS.cells:
        terminalreporter.section("faults")
        for line in TOTALS.lines():
            terminalreporter.line(line)


def lack(what: str) -> NoReturn:
    """Say what a test needs and isn't there: in CI it has failed, elsewhere it is skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> None:
    """Nothing that the shell around the tests says about databases or signals may reach them."""
    # Where they run in the background, Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        strange = ("PG", "SPARKIFY_BULK_", "AWS_", "AZURE_", "GOOGLE_")
        if name.startswith(strange) or name == "DATABASE_URL":
            del os.environ[name]
    os.environ["LC_ALL"] = "C.UTF-8"


@pytest.fixture(autouse=True)
def _log_level_as_it_is() -> Iterator[None]:
    """Put back the level that a command sets in this process: the next test may read its log."""
    logger = logging.getLogger("sparkify_bulk")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def server(_clean_environment: None) -> Iterator[Server]:
    """One server for all tests."""
    with running(SERVER) as made:
        yield made


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """Return the connection string of a fresh database."""
    name = f"test_{next(_numbers)}"
    server.create(name)
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture(scope="module")
def module_database(server: Server) -> Iterator[str]:
    """Return the connection string of a database for all tests of a module.

    For properties, whose every example takes a schema of its own.
    """
    name = f"module_{next(_numbers)}"
    server.create(name)
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """Open a connection to the fresh database."""
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def service(_clean_environment: None) -> Iterator[Service]:
    """One service that keeps buckets, for all tests."""
    with running_service() as made:
        yield made


@pytest.fixture
def bucket(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """Make an empty bucket that the environment leads to."""
    made = Bucket(service)
    # No profile of whoever runs the tests.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    service.requests.clear()
    with _led_to(made, monkeypatch):
        yield made
    service.faults.clear()
    service.between = None


@contextlib.contextmanager
def _led_to(made: Filled, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the environment lead to a bucket, and no client be left of another environment."""
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    bucket_access.client_of.cache_clear()
    yield
    bucket_access.client_of.cache_clear()


@pytest.fixture(scope="session")
def containers(_clean_environment: None) -> Iterator[Callable[[], Container]]:
    """Run Azure's emulator, which takes npm to install."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no azurite-blob is on the PATH: npm install --global azurite")
    with running_azurite(program) as make:
        yield make


@pytest.fixture
def container(
    containers: Callable[[], Container], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Container]:
    """Make an empty container that the environment leads to."""
    made = containers()
    with _led_to(made, monkeypatch):
        yield made


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make an empty tree of input files."""
    return Tree(tmp_path / "data")


@pytest.fixture(scope="session")
def committed() -> Path:
    """Return the sample data of this repository."""
    return ROOT / "data"


@pytest.fixture(scope="session")
def sample() -> Path:
    """Return the real sample: 71 songs and a month of events, kept beside the repository."""
    if not (SAMPLE / "song_data").is_dir():
        lack(f"no real sample in {SAMPLE}: set SPARKIFY_BULK_SAMPLE")
    return SAMPLE
