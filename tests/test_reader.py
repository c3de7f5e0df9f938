"""Many small files are read by a process beside, or here, and always the same."""

import os
import signal
from hashlib import sha256
from pathlib import Path

import pytest

from sparkify_bulk import reader
from sparkify_bulk.reader import Read, Reader, read_files

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@pytest.fixture
def files(tmp_path: Path) -> list[bytes]:
    """Make some small files."""
    contents = [b'{"a": %d}' % number for number in range(300)] + [b"", b'{"b": 1}\n']
    for name, data in zip(names(contents), contents, strict=True):
        (tmp_path / name).write_bytes(data)
    return contents


def names(contents: list[bytes]) -> list[str]:
    """Name files by their numbers, and one by what isn't UTF-8."""
    return [str(number) for number in range(len(contents) - 1)] + [os.fsdecode(b"\xff")]


def sizes(contents: list[bytes]) -> list[int]:
    """Return the files' sizes."""
    return [len(data) for data in contents]


def child(beside: Reader) -> int:
    """Return the number of a reader's process."""
    assert beside._process is not None  # noqa: SLF001
    return beside._process.pid  # noqa: SLF001


def test_a_process_beside_reads_what_is_read_here(tmp_path: Path, files: list[bytes]) -> None:
    """Bytes, lengths and digests are the same, asked again and again."""
    here = read_files(str(tmp_path), names(files), sizes(files), FLAGS)
    assert here.data == b"\n".join(files)
    assert here.lengths == sizes(files)
    assert here.digests == [sha256(data).digest() for data in files]
    beside = Reader()
    assert beside.read(str(tmp_path), names(files), sizes(files), FLAGS) == here
    first = child(beside)
    assert beside.read(str(tmp_path), names(files), sizes(files), FLAGS) == here
    assert child(beside) == first
    beside.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_few_or_large_files_start_no_process(
    tmp_path: Path, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is started only where it saves more than it costs."""
    beside = Reader()
    beside.read(str(tmp_path), names(files)[:5], sizes(files)[:5], FLAGS)
    monkeypatch.setattr(reader, "_MEAN_BYTES", 1)
    beside.read(str(tmp_path), names(files), sizes(files), FLAGS)
    assert beside._process is None  # noqa: SLF001
    beside.close()


def test_what_changed_since_it_was_listed_is_left(tmp_path: Path, files: list[bytes]) -> None:
    """A file that grew, shrank, vanished or became another is told, and not kept."""
    (tmp_path / "1").write_bytes(files[1] + b" ")
    (tmp_path / "2").write_bytes(files[2][:-1])
    (tmp_path / "3").unlink()
    (tmp_path / "4").unlink()
    (tmp_path / "4").symlink_to(tmp_path / "5")
    (tmp_path / "6").unlink()
    os.mkfifo(tmp_path / "6")
    read = read_files(str(tmp_path), names(files), sizes(files), FLAGS)
    left = {1, 2, 3, 4, 6}
    assert {n for n, length in enumerate(read.lengths) if length < 0} == left
    assert read.data == b"\n".join(data for n, data in enumerate(files) if n not in left)


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"{}", True),
        (b"{}\n", True),
        (b"{}\n\n", False),
        (b"{}\n{}", False),
        (b" {}", False),
        (b"", False),
    ],
)
def test_files_of_one_line_are_told(tmp_path: Path, data: bytes, is_one: bool) -> None:
    """Only if every file is one line that begins with a brace nobody needs to look again."""
    (tmp_path / "a").write_bytes(b"{}")
    (tmp_path / "b").write_bytes(data)
    read = read_files(str(tmp_path), ["a", "b"], [2, len(data)], FLAGS)
    assert read.one_line_each == is_one


def test_a_process_that_dies_or_never_starts_costs_nothing(
    tmp_path: Path, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no process can be asked is read here."""
    asked = (str(tmp_path), names(files), sizes(files), FLAGS)
    here: Read = read_files(*asked)
    beside = Reader()
    beside.read(*asked)
    os.kill(child(beside), signal.SIGKILL)
    assert beside.read(*asked) == here
    beside.close()
    monkeypatch.setattr("sys.executable", str(tmp_path / "no python"))
    nowhere = Reader()
    assert nowhere.read(*asked) == here
    nowhere.close()
