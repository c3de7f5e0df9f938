"""The rooms of the package: who may know whom."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

import sparkify_bulk
from sparkify_bulk import statements

PACKAGE = statements.folder().parent / "sparkify_bulk"
if not PACKAGE.is_dir():
    PACKAGE = statements.folder().parent
MODULES = {
    str(path.relative_to(PACKAGE).with_suffix("")): ast.parse(path.read_text())
    for path in PACKAGE.rglob("*.py")
}
# From the ground up: a room knows its own layer and those below.
LAYERS = (
    {"errors", "redaction", "report", "settings", "statements", "tables", "units"},
    {"database", "transform"},
    {"source"},
    {"extract"},
    {"ledger"},
    {"loading"},
    {"run"},
    {"pipeline", "doctor", "query"},
    {"bench", "reporting"},
    {"commands"},
    {"cli"},
    {"__init__", "__main__"},
)
KNOW_PSYCOPG = {
    "database", "loading", "ledger", "run", "pipeline", "query", "doctor", "bench", "reporting",
}  # fmt: skip
# The package and its `query` say that an answer may be a frame.
KNOW_POLARS = {"extract", "transform", "loading", "query", "__init__"}


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Yield what a module imports, also inside functions: the package, and the module or name."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "sparkify_bulk":
            yield from (("sparkify_bulk", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            package, _, inside = node.module.partition(".")
            yield package, inside.partition(".")[0]


def room_of(module: str) -> str:
    """Return the folder of a module, or the module itself where it stands in none."""
    return module.partition("/")[0]


def layer_of(room: str) -> int:
    """Return how high a room is."""
    (layer,) = (number for number, rooms in enumerate(LAYERS) if room in rooms)
    return layer


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_flow_one_way(module: str) -> None:
    """A module knows its own room, those of the layers below, and the package's version."""
    room = room_of(module)
    known = {inside for package, inside in imports(module) if package == "sparkify_bulk"}
    others = known - {room, "__version__", ""}
    # Modules of the ground may know each other.
    highest = max(layer_of(room) - 1, 0)
    assert [other for other in others if layer_of(other) > highest] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_few_rooms_know_the_driver_and_the_frames(module: str) -> None:
    """Only the rooms that talk to the server import psycopg, only those with frames Polars."""
    known = {package for package, _ in imports(module)}
    assert room_of(module) in KNOW_PSYCOPG or "psycopg" not in known
    assert room_of(module) in KNOW_POLARS or "polars" not in known


def test_data_statements_stand_in_files() -> None:
    """Nothing in Python inserts, updates, deletes or merges: that is what the SQL files do."""
    verbs = re.compile(r"\b(INSERT INTO|UPDATE \w+ SET|DELETE FROM|MERGE INTO)\b")
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not verbs.search(node.value), module


def test_importing_the_package_is_cheap() -> None:
    """The package itself imports neither driver nor frames, nor draws anything."""
    script = "import sparkify_bulk, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"psycopg", "polars", "matplotlib", "sparkify_bulk.pipeline"} & set(loaded)


def test_no_room_stands_in_for_a_function_of_the_package() -> None:
    """Importing `sparkify_bulk.x` sets the attribute `x`: a room named `load` would hide it."""
    modules = ("sparkify_bulk." + name.replace("/", ".") for name in MODULES if name != "__main__")
    for module in modules:
        importlib.import_module(module.removesuffix(".__init__"))
    for name in ("reload", "load", "ask"):
        assert callable(getattr(sparkify_bulk, name))
