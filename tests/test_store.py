"""Another kind of store: files that stand in memory are loaded as those of a folder are."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from command import run
from trees import Tree, event, lines, read_star

import sparkify_bulk
from sparkify_bulk import pipeline
from sparkify_bulk.doctor.checks import diagnose
from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import Settings
from sparkify_bulk.source import batches, folder_read, reading, stores
from sparkify_bulk.source.listing import Entry, LeftOut, escape, has_suffix
from sparkify_bulk.source.store import File, Store

HELD: dict[str, bytes] = {}
"""What is in memory, by its whole address."""


class Held(File):
    """Bytes."""

    def __init__(self, data: bytes) -> None:
        """Take them."""
        self._data, self.size, self.modified_ns = data, len(data), 1

    def read(self, start: int, stop: int) -> bytes:
        """Return some of them."""
        return self._data[start:stop]

    @contextmanager
    def stream(self, start: int = 0) -> Iterator[BinaryIO]:
        """Stream them."""
        stream = io.BytesIO(self._data)
        stream.seek(start)
        yield stream


@dataclass(frozen=True)
class Memory(Store):
    """What `HELD` has below an address, with the least that a store must do."""

    address: str
    follow_links: bool = False

    def missing(self) -> str:
        """Look for anything below."""
        there = any(name.startswith(f"{self.address}/") for name in HELD)
        return "" if there else f"{self.address} holds nothing"

    def list_files(self, left_out: LeftOut) -> Iterator[list[Entry]]:
        """List what is below."""
        found = []
        for name, data in HELD.items():
            path = name.removeprefix(f"{self.address}/")
            if path != name and has_suffix(path):
                found.append(Entry(path, len(data), 1))
            elif path != name:
                left_out.add("suffix", path)
        yield sorted(found, key=lambda entry: escape(entry.path).encode())

    @contextmanager
    def open(self, path: str) -> Iterator[File]:
        """Open it."""
        try:
            yield Held(HELD[f"{self.address}/{path}"])
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None


@pytest.fixture
def address(committed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of the repository's sample, in memory."""
    monkeypatch.setitem(stores._KINDS, "memory", Memory)  # noqa: SLF001
    for path in committed.rglob("*"):
        if path.is_file():
            HELD[f"memory://sample/{path.relative_to(committed)}"] = path.read_bytes()
    yield "memory://sample"
    HELD.clear()


def test_another_store_is_loaded_as_a_folder_is(
    database: str, committed: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reload, load, plan, verify and doctor work with what a new kind of store must do, no more."""
    sparkify_bulk.reload(committed, dsn=database, schema="plain")
    monkeypatch.setattr(reading, "CHUNK_BYTES", 50_000)
    monkeypatch.setattr(batches, "BATCH_BYTES", 20_000)
    report = sparkify_bulk.reload(address, dsn=database)
    assert read_star(database) == read_star(database, "plain")
    assert report.input.songs.files == 300
    HELD[f"{address}/log_data/z/new.json"] = lines(event(1), event(2))
    HELD[f"{address}/log_data/z/notes.csv"] = b""
    settings = Settings(
        f"{address}/song_data", f"{address}/log_data", dsn=database, rehash=True, jobs=1
    )
    manifests, _ = pipeline.plan(settings)
    assert [m.new + m.changed for m in manifests.values()] == [0, 1]
    assert manifests["events"].left_out.first == {"suffix": "z/notes.csv"}
    report = pipeline.load(settings)
    assert (report.input.events.files, report.tables["songplays"].inserted) == (1, 2)
    _, differences = pipeline.verify(settings)
    assert differences == []
    names = {"songs": f"{address}/song_data", "logs": f"{address}/log_data"}
    found = {f.name: f.found for f in diagnose(dsn=database, schema="sparkify", **names).findings}
    assert found["songs"].startswith("300 files, ")
    assert found["logs"].startswith("8 files, ")


def test_the_command_takes_the_address_of_another_store(database: str, address: str) -> None:
    """As it is written; what is not there is named."""
    done = run("reload", address, "--dsn", database, "--json")
    assert json.loads(done.stdout)["input"]["songs"]["files"] == 300
    done = run("load", "memory://other", "--dsn", database)
    assert done.returncode == 2
    assert "memory://other holds nothing" in done.stderr


def test_every_file_is_read_through_its_store(
    database: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that can't be opened is a reject, whatever the store says of it."""
    tree.logs("a.json", event(1))
    tree.logs("b.json", event(2))

    def closed(*_: object) -> None:
        raise PermissionError(13, "the store is closed")

    monkeypatch.setattr(folder_read, "SMALL_BYTES", 0)
    monkeypatch.setattr("sparkify_bulk.source.folder._File.__init__", closed)
    with pytest.raises(UsageError):
        sparkify_bulk.reload(tree.root / "nothing", dsn=database)
    report = sparkify_bulk.reload(logs=tree.log_folder, dsn=database)
    assert report.rejects.by_reason == {"unreadable_file": 2}
