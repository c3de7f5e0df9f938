"""The notebook, executed as a reader would."""

import importlib.util
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat import NotebookNode
from servers import fast_folder
from trees import query

import sparkify_bulk
from sparkify_bulk.database import embedded
from sparkify_bulk.statements import questions

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOK = DOCS / "explore.ipynb"
LARGEST_BYTES = 300_000


def load_execute() -> ModuleType:
    """Import the script that executes notebooks, which is no package."""
    spec = importlib.util.spec_from_file_location("execute", DOCS / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stored() -> NotebookNode:
    """Return the notebook as it is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where an embedded server may live, which the kernel will use too."""
    # Not pytest's own folder: when root runs the tests, no other account may enter that.
    above = Path(tempfile.mkdtemp(prefix="sb-", dir=fast_folder()))
    above.chmod(0o711)
    monkeypatch.setenv("SPARKIFY_BULK_HOME", str(above / "home"))
    try:
        yield above / "home"
    finally:
        embedded.stop(above / "home")
        shutil.rmtree(above)


@pytest.fixture(autouse=True)
def _no_settings_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of the tests reads no profile, and leaves no history."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def code(notebook: NotebookNode) -> list[NotebookNode]:
    """Return a notebook's cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(notebook: NotebookNode) -> list[list[str]]:
    """Return what each cell gave, as text; a figure is named by its size."""
    return [
        [output.get("text") or output.data["text/plain"] for output in cell.outputs]
        for cell in code(notebook)
    ]


def test_runs_on_the_embedded_server_and_is_not_stale(home: Path, stored: NotebookNode) -> None:
    """From nothing it loads the sample, and gives what is committed: else run `make notebook`."""
    fresh = load_execute().execute(NOTEBOOK)
    assert embedded.status(home) is not None
    assert said(fresh) == said(stored)


@pytest.mark.full
def test_runs_on_a_named_database(
    database: str, committed: Path, stored: NotebookNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A star that is there is asked, not loaded anew."""
    sparkify_bulk.reload(logs=committed / "log_data", dsn=database)
    monkeypatch.setenv("SPARKIFY_BULK_DSN", database)
    monkeypatch.setenv("SPARKIFY_BULK_HOME", "/nowhere")
    assert said(load_execute().execute(NOTEBOOK)) == said(stored)
    assert query(database, "SELECT count(*) FROM sparkify.songs") == [(0,)]


def test_asks_every_question(stored: NotebookNode) -> None:
    """All questions of the star, and no other."""
    asked = re.findall(r'\.ask\("(\w+)"', "\n".join(cell.source for cell in code(stored)))
    assert set(asked) == set(questions())


def test_is_committed_as_it_was_executed(stored: NotebookNode) -> None:
    """From top to bottom, with a figure a question, nothing on stderr, no path, and small."""
    assert [cell.execution_count for cell in code(stored)] == list(range(1, len(code(stored)) + 1))
    outputs = [output for cell in code(stored) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == len(questions())
    assert {output.output_type for output in outputs} == {"execute_result", "display_data"}
    assert not re.search(r"/(tmp|home|root|usr)/", NOTEBOOK.read_text())
    assert NOTEBOOK.stat().st_size < LARGEST_BYTES
