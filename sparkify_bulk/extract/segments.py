"""Runs of bytes that hold whole records of files: how they are counted and cut."""

from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from typing import NamedTuple

import polars as pl

from sparkify_bulk.source.batches import BOUNDARY

# Bytes that are worth calling Polars for.
LONG_BYTES = 2**17
BLANK = b" \t\r\n"
# What text begins with that isn't taken for compressed data by anybody.
NEVER_PACKED = (b"{", b"[", b" ", b"\r", b"\n")


class Segment(NamedTuple):
    """Whole records of one file.

    Attributes:
        file: the file's index in the batch.
        data: the bytes.
        offset: where they begin in the file (once decompressed).
        lines_before: newlines before them, from where the batch begins.
    """

    file: int
    data: bytes
    offset: int
    lines_before: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Many small files in one run of bytes, a newline between each two.

    Attributes:
        data: the bytes.
        files: each file's index in the batch.
        lengths: each file's bytes.
        one_line_each: every file is one line that begins with `{`.
    """

    data: bytes
    files: list[int]
    lengths: list[int]
    one_line_each: bool

    def segments(self) -> list[Segment]:
        """Take the files apart."""
        stops = accumulate(self.lengths, lambda stop, length: stop + 1 + length)
        return [
            Segment(file, self.data[stop - length : stop], 0, 0)
            for file, length, stop in zip(self.files, self.lengths, stops, strict=True)
        ]


def apart(found: Packed | list[Segment]) -> list[Segment]:
    """Return segments, a file each where many small ones are one run of bytes."""
    return found.segments() if isinstance(found, Packed) else found


def size_of(segments: list[Segment]) -> int:
    """Return how many bytes segments have together."""
    return sum(len(segment.data) for segment in segments)


def piece(segment: Segment, start: int, stop: int, lines: int) -> Segment:
    """Cut a piece out of a segment, before which there are so many lines of it."""
    data = segment.data[start:stop]
    return Segment(segment.file, data, segment.offset + start, segment.lines_before + lines)


def halve(segments: list[Segment]) -> tuple[list[Segment], list[Segment]] | None:
    """Cut the segments in two; None where it is one that has no place to cut."""
    if len(segments) > 1:
        middle = len(segments) // 2
        return segments[:middle], segments[middle:]
    (whole,) = segments
    match = BOUNDARY.search(whole.data, len(whole.data) // 2)
    if match is None:
        return None
    left, right = whole.data[: match.end()], whole.data[match.end() :]
    lines = whole.lines_before + left.count(b"\n")
    return (
        [Segment(whole.file, left, whole.offset, whole.lines_before)],
        [Segment(whole.file, right, whole.offset + len(left), lines)],
    )


def has_long_line(data: bytes) -> bool:
    """Tell whether a line is so long that Polars might take quadratic time for its keys."""
    position = 0
    while len(data) - position > LONG_BYTES:
        end = data.rfind(b"\n", position, position + LONG_BYTES)
        if end < 0:
            return True
        position = end + 1
    return False


def lines_at(segments: list[Segment], rows: set[int]) -> list[Segment]:
    """Return some of the lines that aren't blank, by their numbers."""
    found = []
    row = 0
    for segment in segments:
        position = 0
        for number, line in enumerate(segment.data.split(b"\n")):
            if line.strip(BLANK):
                if row in rows:
                    found.append(piece(segment, position, position + len(line), number))
                row += 1
            position += len(line) + 1
    return found


def count_lines(segments: list[Segment], height: int) -> list[int] | None:
    """Count each segment's lines that aren't blank; None if they aren't as many as were parsed."""
    numbers = [_lines(segment.data) for segment in segments]
    if sum(numbers) != height:
        lines = (segment.data.split(b"\n") for segment in segments)
        numbers = [sum(1 for line in split if line.strip(BLANK)) for split in lines]
    return numbers if sum(numbers) == height else None


def _lines(data: bytes) -> int:
    """Count the lines; the last one needs no newline.

    Python's own count would hold up all other workers while it goes through a log.
    """
    if len(data) > LONG_BYTES and data[:1] in NEVER_PACKED:
        return int(pl.scan_lines(BytesIO(data)).select(pl.len()).collect().item())
    return data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))


def offsets_of(segments: list[Segment], records: list[int]) -> list[int]:
    """Return the offset in its file of each record: of its first byte that isn't blank."""
    offsets: list[int] = []
    for segment, number in zip(segments, records, strict=True):
        if number == 1:
            data = segment.data
            if data[:1] == b"{":
                offsets.append(segment.offset)
                continue
            offsets.append(segment.offset + len(data) - len(data.lstrip(BLANK)))
            continue
        lines = segment.data.split(b"\n")
        starts = accumulate((len(line) + 1 for line in lines), initial=segment.offset)
        offsets.extend(
            start + len(line) - len(line.lstrip(BLANK))
            for line, start in zip(lines, starts, strict=False)
            if line.strip(BLANK)
        )
    return offsets
