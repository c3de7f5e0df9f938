"""What a batch's files held: typed frames of the records accepted, and counts of all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from sparkify_bulk.errors import BooksError
from sparkify_bulk.extract.rejects import Reject
from sparkify_bulk.source.listing import Read

# A number by the index of a file in its batch.
NUMBERS = {"file": pl.UInt32, "number": pl.Int64}


@dataclass(frozen=True, slots=True)
class Extract:
    """What one buffer held: a typed frame of the accepted records, and what befell the others.

    `records` and `filtered` are counts by the index of the file: columns `file` and `number`.
    """

    frame: pl.DataFrame
    records: pl.DataFrame
    filtered: pl.DataFrame
    rejects: list[Reject] = field(default_factory=list)


class Books:
    """What was read of the files of a batch, in its order: the books of each file."""

    def __init__(self, files: Sequence[str]) -> None:
        """Open them.

        Args:
            files: the batch's files.
        """
        self._files = files
        self.bytes = [0] * len(files)
        self.modified_ns = [0] * len(files)
        self.digests = [b""] * len(files)
        self._entries: list[pl.DataFrame] = []

    def take(self, read: Read, places: Iterable[int]) -> None:
        """Enter small files that were read, and where each stands in the batch."""
        columns = zip(places, read.sizes, read.modified_ns, read.digests, strict=True)
        for place, size, modified_ns, digest in columns:
            self.bytes[place] = size
            self.modified_ns[place] = modified_ns
            self.digests[place] = digest

    def enter(self, part: Extract) -> None:
        """Enter what befell a buffer's records."""
        rejected = Counter(reject.file for reject in part.rejects)
        counts = {
            "records": part.records,
            "accepted": per_file(part.frame),
            "filtered": part.filtered,
            "rejected": numbers(rejected),
        }
        self._entries += [
            frame.rename({"number": name}) for name, frame in counts.items() if frame.height
        ]

    def close(self) -> pl.DataFrame:
        """Return a row a file: what was read, and `records = accepted + filtered + rejected`.

        `digest` is the SHA-256 of the bytes, once decompressed.

        Raises:
            BooksError: the records of a file don't add up.
        """
        fates = ("accepted", "filtered", "rejected")
        schema = {"file": pl.UInt32} | dict.fromkeys(("records", *fates), pl.Int64)
        entries = [pl.DataFrame(schema=schema), *self._entries]
        totals = pl.concat(entries, how="diagonal").group_by("file").sum()
        closed = (
            pl.DataFrame(
                {"bytes": self.bytes, "modified_ns": self.modified_ns, "digest": self.digests},
                schema={"bytes": pl.Int64, "modified_ns": pl.Int64, "digest": pl.Binary},
            )
            .with_row_index("file")
            .join(totals, on="file", how="left", maintain_order="left")
            .with_columns(pl.col("records", *fates).fill_null(0))
        )
        wrong = closed.filter(pl.col("records") != pl.sum_horizontal(fates))
        for row in wrong.iter_rows(named=True):
            raise BooksError(
                f"{self._files[row['file']]}: {row['records']} records, but {row['accepted']} "
                f"accepted, {row['filtered']} filtered and {row['rejected']} rejected"
            )
        return closed.drop("file")


def numbers(by_file: Mapping[int, int]) -> pl.DataFrame:
    """Return numbers by the index of a file as a frame."""
    columns = {"file": list(by_file.keys()), "number": list(by_file.values())}
    return pl.DataFrame(columns, schema=NUMBERS)


def per_file(frame: pl.DataFrame) -> pl.DataFrame:
    """Count a frame's rows by their file."""
    return frame.group_by("file").agg(pl.len().cast(pl.Int64).alias("number"))


def concat_frames(parts: list[Extract]) -> pl.DataFrame:
    """Put the rows of some extracts of one kind together."""
    return pl.concat([part.frame for part in parts])
