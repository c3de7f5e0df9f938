"""The ways to load a tree that are compared: each is a script."""

import ast
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparkify_bulk.errors import SparkifyBulkError, UsageError

logger = logging.getLogger("sparkify_bulk")

PRODUCT, FLOOR = "sparkify-bulk", "floor"
SLOW = ("row-by-row-autocommit",)
"""Takes so long that it only runs where it is named."""
_PACKAGE = Path(__file__).parent.parent


class BenchError(SparkifyBulkError):
    """A contender failed, or ended in another star than the product's."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to load a tree: a script that is run as `python SCRIPT DSN SCHEMA DATA`.

    `missing` names the packages that it imports and that aren't installed.
    """

    name: str
    title: str
    script: Path | None
    missing: tuple[str, ...] = ()


def folder() -> Path:
    """Return the folder of the benchmarks: inside a wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "benchmarks"
    return inside if inside.is_dir() else _PACKAGE.parent / "benchmarks"


def contenders() -> dict[str, Contender]:
    """Return all contenders by name, the slowest way first; others' loaders follow."""
    order = (
        "row-by-row-autocommit", "row-by-row", "executemany", "insert-values", "insert-unnest",
        "copy-write-row", "copy-csv", "adbc", "copy-binary",
    )  # fmt: skip
    own = {c.name: c for c in map(_contender, _scripts("contenders"))}
    known = [own[name] for name in order] + [own[name] for name in own if name not in order]
    product = Contender(PRODUCT, "The whole product: sparkify-bulk reload.", None)
    others = map(_contender, _scripts("others"))
    floor = own[FLOOR]
    found = (*(c for c in known if c is not floor), product, floor, *others)
    return {contender.name: contender for contender in found}


def _scripts(name: str) -> list[Path]:
    return sorted(path for path in (folder() / name).glob("*.py") if path.stem[0] != "_")


def _contender(script: Path) -> Contender:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    title = (ast.get_docstring(tree) or script.stem).splitlines()[0]
    return Contender(script.stem.replace("_", "-"), title, script, tuple(_missing(tree, script)))


def _missing(tree: ast.Module, script: Path) -> Iterator[str]:
    """Yield the packages that a script imports as it starts, and that can't be found."""
    for node in tree.body:
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in (name.split(".")[0] for name in names):
            ours = (script.with_name(f"{name}.py"), folder() / "contenders" / f"{name}.py")
            if not any(path.exists() for path in ours) and importlib.util.find_spec(name) is None:
                yield name


def choose(names: Sequence[str]) -> list[Contender]:
    """Return the contenders named; all of the first set that aren't too slow if none is.

    Raises:
        UsageError: there is none of that name, or it needs what isn't installed.
    """
    known = contenders()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no contender {', '.join(unknown)}", hint=f"there are {', '.join(known)}")
    first = [c for c in known.values() if c.script is None or c.script.parent.name == "contenders"]
    wanted = [known[name] for name in dict.fromkeys(names)] or [
        contender for contender in first if contender.name not in SLOW
    ]
    lacking = {c.name: c.missing for c in wanted if c.missing}
    if lacking and names:
        said = "; ".join(f"{name} needs {', '.join(what)}" for name, what in lacking.items())
        raise UsageError(said, hint="install them beside sparkify-bulk, e.g. sparkify-bulk[bench]")
    for name, what in lacking.items():
        logger.warning("Left out: %s needs %s", name, ", ".join(what))
    return [contender for contender in wanted if not contender.missing]
