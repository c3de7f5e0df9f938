"""What the benchmarks share: sizes by option, and a server."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkify_bulk import embedded


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the size be chosen; the default only shows that a benchmark works."""
    parser.addoption("--rows", type=int, default=1000, help="songplays to copy")


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> int:
    """Return how many rows to copy."""
    size: int = request.config.getoption("--rows")
    return size


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """Return the server that `SPARKIFY_BULK_DSN` names, or a passing embedded one."""
    if named := os.environ.get("SPARKIFY_BULK_DSN"):
        yield named
        return
    # Short, for the socket's sake, and open enough for the server's account when root runs this.
    above = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    above.chmod(0o755)
    yield embedded.ensure_running(above / "home").dsn
    embedded.stop(above / "home")
    shutil.rmtree(above)
