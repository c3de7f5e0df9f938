"""What the benchmarks share: sizes by option, and a server."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparkify_bulk.bench import comparison
from sparkify_bulk.bench.comparison import Sizes
from sparkify_bulk.bench.ground import Ground, open_ground
from sparkify_bulk.database import embedded

SIZES = {"rows": 1000, "events": 2000, "songs": 200, "slow-events": 20_000, "seed": 1, "rounds": 3}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the size be chosen; the default only shows that a benchmark works."""
    said = {
        "rows": "songplays to copy",
        "events": "events to load",
        "songs": "song files to load",
        "slow-events": "events at most for those who insert row by row",
        "seed": "of the generated data",
        "rounds": "how often each one runs",
    }
    for name, what in said.items():
        parser.addoption(f"--{name}", type=int, default=SIZES[name], help=what)
    parser.addoption("--dsn", help="the server; else SPARKIFY_BULK_DSN, else an embedded one")


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> int:
    """Return how many rows to copy."""
    size: int = request.config.getoption("--rows")
    return size


@pytest.fixture(scope="session")
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the server that the option or `SPARKIFY_BULK_DSN` names, or a passing embedded one."""
    if named := request.config.getoption("--dsn") or os.environ.get("SPARKIFY_BULK_DSN"):
        yield named
        return
    # Short, for the socket's sake, and open enough for the server's account when root runs this.
    above = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    above.chmod(0o755)
    yield embedded.ensure_running(above / "home").dsn
    embedded.stop(above / "home")
    shutil.rmtree(above)


@pytest.fixture(scope="session")
def grounds(dsn: str) -> Iterator[Callable[[Sizes], Ground]]:
    """Return what opens a ground for a tree of some size, once a size."""
    opened: dict[Sizes, Ground] = {}
    with contextlib.ExitStack() as stack:

        def ground(sizes: Sizes) -> Ground:
            if sizes not in opened:
                tree = stack.enter_context(comparison.generated(sizes))
                opened[sizes] = stack.enter_context(open_ground(dsn, tree))
            return opened[sizes]

        yield ground
