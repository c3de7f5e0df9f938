"""The rooms of the package: who may know whom."""

import ast
import re

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
STEPS = {
    "refusal", "session", "connection", "manifest", "records", "extract", "transform", "gather",
    "stage", "marks", "merge", "state", "switch", "ledger", "report", "lanes",
}  # fmt: skip
GROUND = {"tables", "statements", "settings", "errors", "measure"}
STORY = {"run", "collect", "build", "pipeline", "bench", "doctor"}
SPEECH = {"cli", "commands"}
KNOW_PSYCOPG = STORY | {
    "refusal", "session", "connection", "lanes", "stage", "marks", "merge", "state", "switch",
    "ledger", "query", "facts", "rights",
}  # fmt: skip
KNOW_POLARS = {"extract", "transform", "gather", "stage"}


def imports(module: str) -> set[str]:
    """Return what a module imports when it is imported, by top-level name; ours by its own."""
    found: set[str] = set()
    for node in MODULES[module].body:
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "sparkify_bulk":
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            found.add(parts[1] if parts[0] == "sparkify_bulk" else parts[0])
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_flow_one_way(module: str) -> None:
    """The ground knows no step, no step knows the story, and the story doesn't know the command."""
    known = imports(module)
    if module in GROUND:
        assert not known & (STEPS | STORY | SPEECH)
    if module in STEPS - STORY:
        assert not known & (STORY | SPEECH)
    if module in STORY:
        assert not known & SPEECH


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"cli", "embedded"}))
def test_few_modules_know_the_driver_and_the_frames(module: str) -> None:
    """Only the modules that talk to the server import psycopg, only those with frames Polars."""
    known = imports(module)
    assert module in KNOW_PSYCOPG or "psycopg" not in known
    assert module in KNOW_POLARS or "polars" not in known


def test_data_statements_stand_in_files() -> None:
    """Nothing in Python inserts, updates, deletes or merges: that is what the SQL files do."""
    verbs = re.compile(r"\b(INSERT INTO|UPDATE \w+ SET|DELETE FROM|MERGE INTO)\b")
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not verbs.search(node.value), module


def test_importing_the_package_is_cheap() -> None:
    """The package itself imports neither driver nor frames."""
    assert not imports("__init__") & {"psycopg", "polars", "pipeline"}
    assert callable(sparkify_bulk.reload)
