"""Stage the batches of a run side by side, and enter what became of them in its books."""

import contextlib
import logging
from collections.abc import Iterator

from sparkify_bulk.errors import RejectLimitError
from sparkify_bulk.loading import marks
from sparkify_bulk.loading.batches import (
    Part,
    RejectLimit,
    Staged,
    Straight,
    Target,
    make_staging,
    stage_batch,
    stage_parts,
)
from sparkify_bulk.loading.workers import Lanes, open_lanes
from sparkify_bulk.run import Run, books_of, phase
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.source.manifest import Manifest

logger = logging.getLogger("sparkify_bulk")


def prepare_staging(run: Run, manifests: dict[Kind, Manifest], *, slowly: bool = False) -> Target:
    """Make staging tables for as many lanes as settings allow, but no more than there are batches.

    Args:
        run: the run.
        manifests: what it will read.
        slowly: read record by record.
    """
    jobs = run.settings.jobs
    lanes = max(1, min(jobs, sum(manifest.look_ahead(jobs) for manifest in manifests.values())))
    names = run.schemas
    target = Target(names.staging, run.run_id, lanes, roots=run.roots, slowly=slowly, mark=run.mark)
    marks.make_schema(run.control, names, names.staging)
    make_staging(run.control, target)
    return target


@contextlib.contextmanager
def run_lanes(run: Run, target: Target) -> Iterator[Lanes]:
    """Open a run's lanes, and count the work of their backends in its phases.

    Raises:
        DatabaseError: the server can't be reached or refused.
    """
    with open_lanes(run.dsn, target.lanes) as lanes:
        run.backends += lanes.connections
        yield lanes
        del run.backends[-len(lanes.connections) :]


def stage_kind(
    run: Run,
    lanes: Lanes,
    manifest: Manifest | None,
    target: Target,
    straight: Straight | None = None,
) -> Iterator[Staged]:
    """Stage all batches of one kind; yield what became of each, as they come.

    Args:
        run: the run; its books are kept.
        lanes: where to.
        manifest: what to read; None if the kind has no folder.
        target: the run's tables.
        straight: lets plays go straight into a new star; None to stage them.

    Raises:
        RejectLimitError: more records were rejected than the settings allow.
    """
    if manifest is None:
        return
    books = books_of(run.report, manifest.kind)
    parts: list[Part] = []
    unknown_levels = 0
    limit = RejectLimit(run.settings.max_rejects, run.report.rejects.count)
    with phase(run, f"stage {manifest.kind}", books):
        for staged in lanes.each(stage_batch, _expected(run, manifest), target, straight, limit):
            for what in ("files", "bytes", "records", "accepted", "filtered", "rejected"):
                setattr(books, what, getattr(books, what) + getattr(staged, what))
            run.sent.update(staged.rows)
            if staged.part:
                parts.append(staged.part)
            _count_rejects(run, staged)
            unknown_levels += staged.unknown_levels
            run.watch.advance(files=staged.files, bytes_=staged.bytes, records=staged.records)
            yield staged
        if parts:
            kind, root = manifest.kind, manifest.root
            run.sent.update(lanes.submit(stage_parts, target, kind, root, parts).result())
    books.left_out = dict(manifest.left_out.counts)
    _tell_unknown_levels(unknown_levels)


def _tell_unknown_levels(plays: int) -> None:
    """Say that some plays have a level that isn't known: they are loaded as they are."""
    if plays:
        logger.warning(
            "%s a level other than free and paid; see: "
            'sparkify-bulk query "SELECT level, count(*) FROM songplays GROUP BY level"',
            "1 play has" if plays == 1 else f"{plays:,} plays have",
        )


def _expected(run: Run, manifest: Manifest) -> Iterator[Batch]:
    """Yield a manifest's batches; once all are listed, tell who watches how much there is."""
    if manifest.kind == "events":
        # Songs are read as they are listed, and not held until all of them are.
        manifest.look_ahead()
        run.watch.expect(files=manifest.files, bytes_=manifest.size)
    yield from manifest.batches
    run.watch.expect(files=manifest.files, bytes_=manifest.size)


def _count_rejects(run: Run, staged: Staged) -> None:
    rejects = run.report.rejects
    for reason, number in staged.reasons.items():
        rejects.add(reason, number)
    limit = run.settings.max_rejects
    if limit is not None and rejects.count > limit:
        raise RejectLimitError(
            f"{rejects.count} records were rejected, {limit} are allowed; the star is untouched",
            hint="look at them with sparkify-bulk rejects, or raise --max-rejects",
        )
