"""Refuse a reload that would leave much less in the star than there was.

A folder that isn't mounted, a delivery that is cut short, or a name that is spelt differently all
look like input that is simply small. The rows of the old star are known from the ledger and from
the server's statistics; only a table that seems to shrink, or of which nothing is known, is
counted.
"""

from collections.abc import Mapping
from fractions import Fraction

from sparkify_bulk import ledger
from sparkify_bulk.errors import ShrinkError
from sparkify_bulk.loading import merge
from sparkify_bulk.loading.context import Run
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.source.manifest import Manifest
from sparkify_bulk.tables import NAMES

# Tables that may lose no more than a share of their rows; the others only not all of them.
_GUARDED = ("songplays", "songs", "users")
_TABLES: Mapping[Kind, str] = {"songs": "songs", "events": "songplays"}
_OPTIONS: Mapping[Kind, str] = {"songs": "--songs DIR", "events": "--logs DIR"}
_FILES: Mapping[Kind, str] = {"songs": "song files", "events": "event logs"}
_ALLOW = "if this is intended, use --max-shrink 1"


def check_input(run: Run, manifests: Mapping[Kind, Manifest]) -> None:
    """Refuse to rebuild a star that has rows of a kind of which there are no files.

    Raises:
        ShrinkError: names the kind; nothing has been read.
    """
    if run.settings.max_shrink >= 1:
        return
    for kind, table in _TABLES.items():
        manifest = manifests.get(kind)
        if manifest is not None and manifest.look_ahead(1):
            continue
        rows = _rows_before(run).get(table, 0)
        if rows and (rows := _count(run, table)):
            where = f" in {manifest.root}" if manifest else ""
            raise ShrinkError(
                f"there are no {_FILES[kind]}{where}, but the star has {rows:,} {table}: a reload "
                "would leave none; the star is untouched",
                hint=f"name their folder with {_OPTIONS[kind]}, and see that it is mounted; "
                f"{_ALLOW}",
            )


def check_rows(run: Run) -> None:
    """Compare the new star with the old one, before it takes its place.

    Raises:
        ShrinkError: a table that had rows has none, or one of the guarded ones lost too many.
    """
    share = Fraction(str(run.settings.max_shrink))
    if share >= 1:
        return
    after = {name: table.rows for name, table in run.report.tables.items()}
    suspects = [
        name for name, rows in _rows_before(run).items() if _lost(name, rows, after[name], share)
    ]
    before = {name: _count(run, name) for name in suspects}
    lost = [name for name in suspects if _lost(name, before[name], after[name], share)]
    if lost:
        changes = ", ".join(f"{name} {before[name]:,} → {after[name]:,} rows" for name in lost)
        raise ShrinkError(
            f"the new star is much smaller than the old one: {changes}{_filtered(run)}; "
            "the star is untouched",
            hint=f"check that all files are present and complete; {_ALLOW}",
        )


def _lost(name: str, before: int, after: int, share: Fraction) -> bool:
    """Tell whether a table lost more rows than it may."""
    if before and not after:
        return True
    return name in _GUARDED and before - after > share * before


def _filtered(run: Run) -> str:
    """Say how many events were no plays, where that is all or nearly all of them."""
    events = run.report.input.events
    if events.filtered <= events.accepted:
        return ""
    return f" ({events.filtered:,} of {events.records:,} events have another page than NextSong)"


def _rows_before(run: Run) -> dict[str, int]:
    """Return how many rows each table of the old star has, as far as known without reading it.

    The larger of what the ledger and the statistics say: a star that was restored by hand, or added
    to, is another than the last run's. A table is counted where both know nothing of rows.
    """
    sizes = merge.table_sizes(run.control, run.schemas.star)
    known = ledger.rows_of_last_run(run.control, run.schemas.ledger) if sizes else {}
    return {
        name: max(sizes[name], known.get(name, 0)) or _count(run, name)
        if sizes[name] >= 0
        else _count(run, name)
        for name in NAMES
        if name in sizes
    }


def _count(run: Run, table: str) -> int:
    return merge.count_table(run.control, run.schemas.star, table)
