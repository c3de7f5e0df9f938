"""How much memory does a reload hold for the songs that plays may name?

    python benchmarks/songs_held.py DATA/song_data --copies 12

Reads the titles and names of real song files, multiplies them by copies that differ in their first
letter, and holds them as a reload does. Prints bytes a song: while songs are staged, and at the
peak, when songs of the same title, artist and duration are reduced to one. Linux alone.
"""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path

import polars as pl

from sparkify_bulk.transform.frames import CREDITS, credits_of
from sparkify_bulk.transform.reductions import Songs

FILES_PER_BATCH = 4000


def main() -> None:
    """Hold the songs, and print what they take."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--copies", type=int, default=12)
    chosen = options.parse_args()
    paths = sorted(chosen.folder.rglob("*.json"))
    songs, rows = Songs(), 0
    before = resident("RssAnon")
    for start in range(0, len(paths), FILES_PER_BATCH):
        batch = read(paths[start : start + FILES_PER_BATCH])
        for number in range(chosen.copies):
            copied = copy(batch, chr(ord("A") + number))
            songs.add(copied, (str(start).encode(), number))
            rows += copied.height
    staged = resident("RssAnon")
    kept = songs.credits()
    assert kept is not None, "more songs than a reload holds: fewer --copies"
    peak = resident("VmHWM") - resident("RssFile")
    figures = {"staged": (staged - before) / rows, "peak": (peak - before) / rows}
    print(json.dumps({"songs": rows, "bytes_a_song": {k: round(v) for k, v in figures.items()}}))


def read(paths: list[Path]) -> pl.DataFrame:
    """Return what plays may name of some song files, each at place 0 of file 0."""
    places = {name: kind for name, kind in CREDITS.items() if kind in (pl.UInt32, pl.Int64)}
    schema = {name: kind for name, kind in CREDITS.items() if name not in places}
    songs = pl.read_ndjson(b"\n".join(path.read_bytes() for path in paths), schema=schema)
    zeros = [pl.lit(0, kind).alias(name) for name, kind in places.items()]
    return credits_of(songs.with_columns(zeros))


def copy(songs: pl.DataFrame, letter: str) -> pl.DataFrame:
    """Return other songs, with texts of their own in memory."""
    names = [name for name, kind in songs.schema.items() if kind == pl.String]
    return songs.with_columns(
        pl.concat_str(pl.lit(letter), pl.col(name).str.slice(1)).alias(name) for name in names
    )


def resident(name: str) -> int:
    """Return a figure of this process' memory, in bytes."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
