"""What a batch's files held: typed frames of the records accepted, and counts of all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from sparkify_bulk.errors import CountMismatchError
from sparkify_bulk.extract.rejects import Reject

# A number by the index of a file in its batch.
NUMBERS = {"file": pl.UInt32, "number": pl.Int64}


class FileRead(NamedTuple):
    """What is known of a file that is read: when it is opened, its size, and at its end a digest.

    Attributes:
        file: its index in the batch.
        size: bytes of it, or of the part that is read.
        modified_ns: when it was changed last.
        digest: SHA-256 of the bytes, once decompressed.
    """

    file: int
    size: int | None = None
    modified_ns: int | None = None
    digest: bytes | None = None


_FATES = ("accepted", "filtered", "rejected")
_READ = {"file": pl.UInt32, "bytes": pl.Int64, "modified_ns": pl.Int64, "digest": pl.Binary}
_NOTHING = pl.DataFrame(schema=_READ | dict.fromkeys(("records", *_FATES), pl.Int64))


@dataclass(frozen=True, slots=True)
class Extract:
    """What one buffer held: a typed frame of the accepted records, and what befell the others.

    `records` and `filtered` are counts by the index of the file: columns `file` and `number`.
    `reads` is what has become known of files, which may be others.
    """

    frame: pl.DataFrame
    records: pl.DataFrame
    filtered: pl.DataFrame
    rejects: list[Reject] = field(default_factory=list)
    reads: Sequence[FileRead] = ()

    def counts(self) -> pl.DataFrame:
        """Return what is counted of each file, for `add_up`."""
        columns = dict(zip(_READ, zip(*self.reads, strict=True), strict=False))
        rejected = Counter(reject.file for reject in self.rejects)
        counted = {
            "records": self.records,
            "accepted": per_file(self.frame),
            "filtered": self.filtered,
            "rejected": numbers(rejected),
        }
        return pl.concat(
            [
                pl.DataFrame(columns, schema=_READ),
                *(frame.rename({"number": name}) for name, frame in counted.items()),
            ],
            how="diagonal",
        )


def add_up(files: Sequence[str], counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return a row a file: what was read, and `records = accepted + filtered + rejected`.

    Args:
        files: the batch's files.
        counts: of its extracts.

    Raises:
        CountMismatchError: the records of a file don't add up.
    """
    counted = ("bytes", "modified_ns", "records", *_FATES)
    totals = (
        pl.concat([_NOTHING, *counts])
        .group_by("file")
        .agg(
            pl.col("bytes", "modified_ns", "records", *_FATES).sum(),
            pl.col("digest").drop_nulls().first(),
        )
    )
    whole = (
        pl.select(pl.int_range(len(files), dtype=pl.UInt32).alias("file"))
        .join(totals, on="file", how="left", maintain_order="left")
        .with_columns(pl.col(counted).fill_null(0), pl.col("digest").fill_null(b""))
    )
    wrong = whole.filter(pl.col("records") != pl.sum_horizontal(_FATES))
    for row in wrong.iter_rows(named=True):
        raise CountMismatchError(
            f"{files[row['file']]}: {row['records']} records, but {row['accepted']} "
            f"accepted, {row['filtered']} filtered and {row['rejected']} rejected"
        )
    return whole.drop("file")


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
