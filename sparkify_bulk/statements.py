"""Read the SQL files that ship with the package."""

import re
from functools import cache
from pathlib import Path
from typing import LiteralString

_PACKAGE = Path(__file__).parent

# Groups of constraints, in their order: a key may take over an index, a reference needs a key.
CONSTRAINTS = ("indexes", "keys", "references")


def folder() -> Path:
    """Return the folder of the SQL files: inside a wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "sql"
    return inside if inside.is_dir() else _PACKAGE.parent / "sql"


@cache
def read(name: str) -> LiteralString:
    """Return the text of one SQL file.

    Args:
        name: path below the folder without ending, e.g. `merge/songs`.

    Raises:
        FileNotFoundError: no such statement.
    """
    return (folder() / f"{name}.sql").read_text(encoding="utf-8")


def columns(name: str) -> list[str]:
    """Return the names of the columns that a CREATE TABLE statement has, one a line."""
    return re.findall(r'^    "?([a-z_]+)"? +[a-z]', read(name), re.MULTILINE)


def names(group: str) -> list[str]:
    """Return the names of all statements of one group, in the order of their names."""
    return sorted(f"{group}/{path.stem}" for path in (folder() / group).glob("*.sql"))


def questions() -> list[str]:
    """Return the names of the questions that the star was built for."""
    return [name.removeprefix("analysis/") for name in names("analysis")]


def constraints(group: str, table: str) -> list[str]:
    """Return the names of the statements of one group of `CONSTRAINTS` for one table."""
    whole = f"constraints/{group}_{table}"
    known = names("constraints")
    return [name for name in known if name == whole or name.startswith(f"{whole}_")]
