"""Which kind of store an address names: a folder of this machine, unless its scheme says else."""

from collections.abc import Callable
from os import PathLike, fspath

from sparkify_bulk.source.bucket import Bucket
from sparkify_bulk.source.folder import Folder, folder_of_url
from sparkify_bulk.source.store import Store

# What addresses of a kind of store begin with, before `://`.
_KINDS: dict[str, Callable[[str, bool], Store]] = {
    "s3": Bucket,
    "gs": Bucket,
    "az": Bucket,
    "file": folder_of_url,
}


def open_store(address: str | PathLike[str], *, follow_links: bool = False) -> Store:
    """Return the store that an address names; whether there is one, `missing` says.

    Args:
        address: of a tree of input files.
        follow_links: follow symbolic links, where a store has any.
    """
    scheme, colon, _ = fspath(address).partition("://")
    kind = _KINDS.get(scheme.lower(), Folder) if colon else Folder
    return kind(fspath(address), follow_links)


def join(address: str | PathLike[str], name: str) -> str:
    """Return the address of what stands in a tree under a name."""
    return f"{open_store(address).address.rstrip('/')}/{name}"
