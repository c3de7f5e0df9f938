"""Checks of the input: that all of it is there and can be read."""

import os
from dataclasses import dataclass, field
from itertools import chain, islice

from sparkify_bulk.doctor.findings import Finding, NotAskedError, Subject, some
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.source.input import EXPECTED_FILES, EXPECTED_FOLDERS
from sparkify_bulk.source.listing import PACKED, LeftOut, escape
from sparkify_bulk.source.manifest import describe_left_out
from sparkify_bulk.source.store import Store
from sparkify_bulk.source.stores import join, open_store
from sparkify_bulk.units import count, readable_size

# What JSON is compressed to: event logs by gzip, 1 / 11 to 1 / 13.
_COMPRESSED_RATIO = 12
_MOST_FILES = 100_000


def songs(subject: Subject) -> Finding:
    """The folder of song files and everything in it can be read."""
    return _look_at_tree(subject, "songs", subject.songs, "--songs")


def logs(subject: Subject) -> Finding:
    """The folder of event logs and everything in it can be read."""
    return _look_at_tree(subject, "events", subject.logs, "--logs")


@dataclass(slots=True)
class _Contents:
    """What a folder holds: files and their bytes, and what of it can't be read."""

    files: int = 0
    size: int = 0
    unpacked: int = 0
    unreadable: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def _look_at_tree(subject: Subject, kind: Kind, address: str | None, option: str) -> Finding:
    if address is None:
        raise NotAskedError(f"name DATA or {option}")
    store = open_store(address, follow_links=subject.follow_links)
    if missing := store.missing():
        return Finding("failure", escape(missing), EXPECTED_FOLDERS)
    contents = _contents(store)
    subject.sizes[kind] = contents.unpacked
    more = contents.files >= _MOST_FILES
    subject.partly = subject.partly or more
    if contents.unreadable:
        hint = "give the account that loads the right to read them"
        return Finding("failure", f"can't be read: {some(contents.unreadable)}", hint)
    left_out = describe_left_out([(store.address, contents.left_out)])
    left_out = f"left out: {left_out}" if left_out else ""
    if not contents.files:
        found = f"no files in {escape(store.address)}"
        return Finding("warning", f"{found}; {left_out}" if left_out else found, EXPECTED_FILES)
    files = count(contents.files, "file")
    found = f"{'the first ' * more}{files}, {readable_size(contents.size)}"
    if left_out:
        hint = "check that none of these files should be loaded"
        return Finding("warning", f"{found}; {left_out}", hint)
    return Finding("ok", found)


def _contents(store: Store) -> _Contents:
    """Look at the input files of a tree, at so many at most: a million would take a minute."""
    found = _Contents()
    entries = chain.from_iterable(store.list_files(found.left_out))
    try:
        for entry in islice(entries, _MOST_FILES):
            found.files += 1
            found.size += entry.size
            is_packed = entry.path.lower().endswith(PACKED)
            found.unpacked += entry.size * (_COMPRESSED_RATIO if is_packed else 1)
            # Where it takes a request, one stands for all.
            if (store.tells_rights or found.files == 1) and not store.may_read(entry.path):
                found.unreadable.append(escape(join(store.address, entry.path)))
    except OSError as error:
        found.unreadable.append(escape(str(error.filename)).rstrip(os.sep))
    return found
