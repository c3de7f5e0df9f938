"""Which kind of store an address names: a folder of this machine, unless its scheme says else."""

from collections.abc import Callable
from os import PathLike, fspath

from sparkify_bulk.source.folder import Folder
from sparkify_bulk.source.store import Store

# What addresses of a kind of store begin with, before `://`.
_KINDS: dict[str, Callable[[str, bool], Store]] = {}


def open_store(address: str | PathLike[str], *, follow_links: bool = False) -> Store:
    """Return the store that an address names; whether there is one, `missing` says.

    Args:
        address: of a tree of input files.
        follow_links: follow symbolic links, where a store has any.
    """
    scheme, colon, _ = fspath(address).partition("://")
    kind = _KINDS.get(scheme, Folder) if colon else Folder
    return kind(fspath(address), follow_links)


def join(address: str | PathLike[str], name: str) -> str:
    """Return the address of what stands in a tree under a name."""
    return f"{open_store(address).address.rstrip('/')}/{name}"
