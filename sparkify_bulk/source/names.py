"""How the ledger names trees and the files in them."""

from collections.abc import Iterable
from pathlib import PurePath

from sparkify_bulk.source.listing import escape
from sparkify_bulk.source.stores import open_store


def root_name(address: str) -> str:
    """Name a tree as the ledger does."""
    return open_store(address).identity


def ledger_names(root: str, paths: Iterable[str]) -> list[str]:
    """Name files as the ledger does: below their root's own name; what isn't UTF-8 is escaped."""
    above = PurePath(root).name
    return [escape(f"{above}/{path}") for path in paths]
