"""Folders are listed and small files read by processes beside, or here, and always the same."""

import os
import signal
import subprocess
import sys
from array import array
from hashlib import sha256
from pathlib import Path

import pytest
from waiting import PATIENCE_SECONDS

from sparkify_bulk.source import folder_processes, folder_read, listing
from sparkify_bulk.source.folder_processes import Beside
from sparkify_bulk.source.folder_read import list_files, read_small, walk_and_read
from sparkify_bulk.source.folder_walk import EVERYTHING, Span, cut, walk
from sparkify_bulk.source.listing import Entry, LeftOut, Read, escape

Found = list[Read | list[Entry]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a tree of small files, and of some that aren't read at once."""
    for number in range(60):
        path = tmp_path / "ABC"[number % 3] / "XYZ"[number % 5 % 3] / f"{number:02}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"a": %d}' % number)
    for name in ("A/packed.json.gz", "B/X/large.json", "é/odd.json", "z.json", ".hidden/no.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "B/X/large.json").write_bytes(b" " * (folder_read.SMALL_BYTES + 1))
    (tmp_path / os.fsdecode(b"A/\xff.json")).write_bytes(b"{}\n")
    return tmp_path


def listed(root: Path, readers: int) -> Found:
    """Return what processes beside find."""
    lister = Beside(str(root), follow_links=False, readers=readers)
    try:
        return list(lister.found(LeftOut()))
    finally:
        lister.close()


def paths(found: Found) -> list[str]:
    """Return the paths of all that was found."""
    chunks = (
        some.paths.split("\0") if isinstance(some, Read) else [entry.path for entry in some]
        for some in found
    )
    return [path for chunk in chunks for path in chunk]


def read_only(found: Found) -> list[Read]:
    """Return what was read of it."""
    return [some for some in found if isinstance(some, Read)]


def contents(found: Found) -> dict[str, bytes]:
    """Return the bytes that were read, by path."""
    return {
        path: data
        for read in read_only(found)
        for path, data in zip(read.paths.split("\0"), read.data.split(b"\n"), strict=False)
    }


def test_processes_beside_list_what_is_listed_here(folder: Path) -> None:
    """Paths, sizes and times of change are the same, in the order of the paths."""
    here = list(walk(str(folder), follow_links=False))
    assert [entry.path for entry in here] == sorted((e.path for e in here), key=escape)
    assert listed(folder, readers=0) == [here]


@pytest.mark.parametrize("readers", [1, 2, 5])
def test_processes_beside_read_what_is_read_here(folder: Path, readers: int) -> None:
    """However many share a folder, every file comes once, and what is read is the same."""
    here: Found = list(walk_and_read(str(folder), follow_links=False))
    found = listed(folder, readers)
    assert sorted(paths(found)) == sorted(paths(here))
    assert len(set(paths(found))) == 65
    assert contents(found) == contents(here)
    for read in read_only(found):
        names = read.paths.split("\0")
        files = [folder / name for name in names]
        assert names == sorted(names, key=escape)
        assert read.digests == [sha256(file.read_bytes()).digest() for file in files]
        assert read.sizes.tolist() == [file.stat().st_size for file in files]
        assert read.modified_ns.tolist() == [file.stat().st_mtime_ns for file in files]


@pytest.fixture
def littered(folder: Path) -> Path:
    """Put into a tree what is no input."""
    files = (
        "A/notes.csv", "A/X/more.csv", "B/Y/x.json.bz2", "README", "A/_SUCCESS", ".DS_Store",
        "A/._00.json", "B/.x.json", "C/.git/HEAD", "C/_temporary/0/part.json", "z/.tmp/a.json",
    )  # fmt: skip
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}")
    (folder / "A" / "link.json").symlink_to(folder / "A" / "X")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.txt").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "C" / "pipe.json")
    os.mkfifo(folder / "C" / "pipe")
    return folder


COUNTS = {"suffix": 6, "link": 3, "hidden_file": 3, "hidden_folder": 4, "not_regular": 1}
FIRST = {
    "suffix": "A/X/more.csv", "link": "A/link.json", "hidden_file": "B/.x.json",
    "hidden_folder": ".hidden", "not_regular": "C/pipe.json",
}  # fmt: skip


@pytest.mark.parametrize("readers", [0, 1, 2, 5])
def test_what_is_left_out_is_counted_once_by_reason(littered: Path, readers: int) -> None:
    """However many share a folder; the first of each reason is named, but for common litter."""
    before = paths(list(walk_and_read(str(littered), follow_links=False)))
    left_out = LeftOut()
    lister = Beside(str(littered), follow_links=False, readers=readers)
    try:
        found = list(lister.found(left_out))
    finally:
        lister.close()
    assert (left_out.counts, left_out.first) == (COUNTS, FIRST)
    assert sorted(paths(found)) == sorted(before)
    assert len(before) == 65


def test_links_that_lead_nowhere_are_left_out_where_links_are_followed(littered: Path) -> None:
    """A loop and a dangling link are links that aren't followed; the others are."""
    left_out = LeftOut()
    found = list(walk(str(littered), follow_links=True, left_out=left_out))
    assert left_out.counts == COUNTS | {"link": 2, "suffix": 7}
    assert left_out.first["link"] == "dangling.txt"
    assert [e.path for e in found if e.path.startswith("A/link.json")] != []


def test_what_is_not_small_and_plain_is_listed_in_its_place(folder: Path) -> None:
    """Large and packed files are listed; no chunk reaches over what another one holds."""
    found: Found = list(walk_and_read(str(folder), follow_links=False))
    unread = [entry.path for some in found if isinstance(some, list) for entry in some]
    assert unread == ["A/packed.json.gz", "B/X/large.json"]
    assert paths(found) == [entry.path for entry in walk(str(folder), follow_links=False)]


def test_much_is_handed_on_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more files, and about so many bytes, come at a time."""
    monkeypatch.setattr(listing, "FILES", 10)
    found: Found = list(walk_and_read(str(folder), follow_links=False))
    assert max(len(read.sizes) for read in read_only(found)) == 10
    assert max(len(some) for some in list_files(str(folder), follow_links=False)) == 10
    monkeypatch.setattr(listing, "FILES", 1000)
    monkeypatch.setattr(folder_read, "_BYTES", 50)
    found = list(walk_and_read(str(folder), follow_links=False))
    assert max(sum(read.sizes) for read in read_only(found)) < 60


@pytest.mark.parametrize("number", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("deep", [False, True])
def test_every_file_is_in_one_share(folder: Path, number: int, deep: bool) -> None:
    """A folder is shared without a gap and without anything twice, however its tree looks."""
    if deep:
        (folder / "only" / "one").mkdir(parents=True)
        for name in ("A", "B", "C", "é", "z.json"):
            (folder / name).rename(folder / "only" / "one" / name)
    spans = cut(str(folder), number, follow_links=False)
    shares = [list(walk(str(folder), follow_links=False, span=span)) for span in spans]
    assert [e for share in shares for e in share] == list(walk(str(folder), follow_links=False))
    assert len(spans) == (1 if number == 50 else number)
    assert all(shares)


@pytest.mark.parametrize(
    ("span", "folder", "holds", "holds_all"),
    [
        (EVERYTHING, b"a/", True, True),
        (Span(b"a/b/"), b"a/", True, False),
        (Span(b"a/b/"), b"a/b/", True, True),
        (Span(b"a/b/"), b"a/a/", False, False),
        (Span(b"", b"a/b/"), b"a/", True, False),
        (Span(b"", b"a/b/"), b"a/a/", True, True),
        (Span(b"", b"a/b/"), b"a/b/", False, False),
        (Span(b"a/b/", b"a/c/"), b"a/b/x/", True, True),
    ],
)
def test_what_a_span_holds(span: Span, folder: bytes, holds: bool, holds_all: bool) -> None:
    """A folder is held in part, as a whole, or not at all."""
    assert span.holds(folder, is_folder=True) == holds
    assert (holds and span.holds_all(folder)) == holds_all


def test_what_cannot_be_read_is_left(tmp_path: Path) -> None:
    """What is large, gone, a link, a pipe or closed is not read, and the others are."""
    for name in "abcde":
        (tmp_path / f"{name}.json").write_bytes(b"{}")
    (tmp_path / "a.json").unlink()
    (tmp_path / "b.json").write_bytes(b" " * (folder_read.SMALL_BYTES + 1))
    (tmp_path / "c.json").unlink()
    (tmp_path / "c.json").symlink_to(tmp_path / "e.json")
    (tmp_path / "d.json").unlink()
    os.mkfifo(tmp_path / "d.json")
    names = [f"{name}.json" for name in "abcde"]
    read, places = read_small(str(tmp_path), names, follow_links=False)
    assert (places, read.paths, read.data, read.sizes) == ([4], "e.json", b"{}", array("q", [2]))


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"{}", True), (b"{}\n", True),
        (b"{}\n\n", False), (b"{}\n{}", False), (b" {}", False), (b"", False),
    ],
)  # fmt: skip
def test_files_of_one_line_are_told(tmp_path: Path, data: bytes, is_one: bool) -> None:
    """Only if every file is one line that begins with a brace nobody needs to look again."""
    (tmp_path / "a.json").write_bytes(b"{}")
    (tmp_path / "b.json").write_bytes(data)
    read, _ = read_small(str(tmp_path), ["a.json", "b.json"], follow_links=False)
    assert read.one_line_each == is_one


@pytest.mark.parametrize("readers", [0, 2])
def test_where_no_process_starts_it_is_done_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, readers: int
) -> None:
    """Without an interpreter to start, all is found nevertheless."""
    expected = sorted(paths(listed(folder, readers)))
    monkeypatch.setattr("sys.executable", None)
    assert sorted(paths(listed(folder, readers))) == expected


def test_processes_beside_load_little() -> None:
    """They begin before all else: with the modules that list and read, and nothing that is slow."""
    script = folder_processes._SCRIPT.replace("\nanswer()", "\nprint(*sys.modules)")  # noqa: SLF001
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    rooms = {name.removeprefix("sparkify_bulk.source.") for name in loaded if "sparkify" in name}
    assert rooms == {
        "sparkify_bulk", "sparkify_bulk.source", "listing", "folder_processes", "folder_read",
        "folder_walk",
    }  # fmt: skip
    assert not {"dataclasses", "pathlib", "inspect"} & loaded


def test_a_process_that_dies_is_an_error(folder: Path) -> None:
    """Files are never left out because whoever listed them has ended."""
    lister = Beside(str(folder), follow_links=False, readers=1)
    (process,) = lister._processes  # noqa: SLF001
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_SECONDS)
    # What it wrote before it was killed, if anything, is without its end.
    with pytest.raises(OSError, match="has ended"):
        list(lister.found(LeftOut()))
    lister.close()


@pytest.mark.parametrize("readers", [0, 1])
def test_what_a_process_cannot_list_is_told(tmp_path: Path, readers: int) -> None:
    """A folder that is none raises here what it raises there, and names it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as caught:
        listed(tmp_path / "file", readers)
    assert str(caught.value.filename).startswith(str(tmp_path / "file"))


def test_no_process_is_left(folder: Path) -> None:
    """Whether or not all was read, the processes end."""
    lister = Beside(str(folder), follow_links=False, readers=3)
    next(lister.found(LeftOut()))
    processes = lister._processes  # noqa: SLF001
    lister.close()
    assert all(process.poll() is not None for process in processes)
