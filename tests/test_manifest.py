"""Listing input files and cutting them into batches."""

import os
from itertools import pairwise

import pytest
from trees import Tree, event, lines

from sparkify_bulk.errors import UsageError
from sparkify_bulk.source import batches as cutting
from sparkify_bulk.source.manifest import make_manifest
from sparkify_bulk.source.stores import open_store


def names(tree: Tree, **options: int) -> list[str]:
    """Return the paths that are listed, in order."""
    batches = make_manifest("events", open_store(tree.log_folder), **options).batches
    return [file for batch in batches for file in batch.files]


def test_only_visible_regular_files_with_a_known_ending_are_listed(tree: Tree) -> None:
    """Hidden files and folders, other endings, links, pipes and folders are left out."""
    good = ["a.json", "b/c.json.gz", "b/d.json.zst", "odd [*] name\n.json"]
    good += ["B.JSON", "c.jsonl", "d.NDJSON.gz", "_e.json"]
    hidden = [".ipynb_checkpoints/a.json", "._a.json", ".DS_Store", "_temporary/0/a.json"]
    for name in (*good, *hidden, "a.txt", "a.json.bz2"):
        tree.logs(name, event())
    (tree.log_folder / "link.json").symlink_to(tree.log_folder / "a.json")
    (tree.log_folder / "loop").symlink_to(tree.log_folder)
    (tree.log_folder / "folder.json").mkdir()
    os.mkfifo(tree.log_folder / "pipe.json")
    assert names(tree) == sorted(good)


def test_files_come_in_the_order_of_their_paths_bytes(tree: Tree) -> None:
    """Folders and files are in the order that their whole paths have as bytes."""
    paths = ["a-/x.json", "a.json", "a/x.json", "a0.json", "B/x.json", "é.json", "z.json"]
    for path in paths:
        tree.logs(path, event())
    assert names(tree) == sorted(paths, key=os.fsencode)


def test_a_name_that_is_not_utf8_is_listed(tree: Tree) -> None:
    """A file whose name holds other bytes is listed by them."""
    name = os.fsdecode(b"\xff.json")
    tree.logs(name, event())
    assert names(tree) == [name]


def test_batches_keep_to_bytes_and_files(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch holds no more bytes or files than allowed, and every file is in one batch."""
    for number in range(20):
        tree.logs(f"{number:02}.json", b"x" * 100)
    made = make_manifest("events", open_store(tree.log_folder), batch_bytes=350)
    batches = list(made.batches)
    assert [len(batch.files) for batch in batches] == [3] * 6 + [2]
    assert [batch.number for batch in batches] == list(range(7))
    assert (made.files, made.size) == (20, 2000)
    monkeypatch.setattr(cutting, "BATCH_FILES", 2)
    assert make_manifest("events", open_store(tree.log_folder)).look_ahead() == 10


def test_batches_are_listed_as_they_are_asked_for(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batches come before the last files are listed; every batch comes once, in order."""
    monkeypatch.setattr("sparkify_bulk.source.listing.FILES", 1)
    for number in range(5):
        tree.logs(f"{number}.json", b"x")
    made = make_manifest("events", open_store(tree.log_folder))
    assert made.look_ahead(2) == 2
    assert made.files < 5
    assert next(made.batches).files == ["0.json"]
    assert made.look_ahead(1) == 1
    assert [batch.files for batch in made.batches] == [[f"{n}.json"] for n in range(1, 5)]
    assert made.files == 5
    assert made.look_ahead() == 0


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b" \n\n"])
def test_a_big_file_is_cut_between_records(tree: Tree, newline: bytes) -> None:
    """Parts of a big file follow each other without a gap, and each begins with a record."""
    data = lines(*(event(number) for number in range(50))).replace(b"\n", newline)
    tree.logs("x.json", data)
    parts = list(make_manifest("events", open_store(tree.log_folder), batch_bytes=1000).batches)
    assert len(parts) > 5
    assert (parts[0].start, parts[-1].stop) == (0, None)
    for one, other in pairwise(parts):
        assert one.stop == other.start
        assert data[other.start :].startswith(b'{"page"')
    assert sum(part.size for part in parts) == len(data)


def test_a_file_without_a_place_to_cut_stays_whole(tree: Tree) -> None:
    """A big file with no line that ends a record is one batch."""
    tree.logs("x.json", b"[" + b"1," * 5000)
    (part,) = make_manifest("events", open_store(tree.log_folder), batch_bytes=100).batches
    assert (part.start, part.stop) == (0, None)


@pytest.mark.parametrize("what", ["missing", "file"])
def test_a_folder_that_is_none_is_a_mistake(tree: Tree, what: str) -> None:
    """A folder that isn't there, or is a file, is a UsageError that names it."""
    tree.logs("file", b"")
    with pytest.raises(UsageError, match=what):
        make_manifest("events", open_store(tree.log_folder / what))
