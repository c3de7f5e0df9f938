"""Let workers stage all batches of a kind, and enter in the report how much they read."""

import contextlib
import logging
from collections.abc import Iterator

from sparkify_bulk.errors import RejectLimitError
from sparkify_bulk.loading import marks
from sparkify_bulk.loading.batches import Counts, Staged, stage_batch, stage_parts
from sparkify_bulk.loading.context import Run
from sparkify_bulk.loading.fill import Straight
from sparkify_bulk.loading.staging import Target, make_staging
from sparkify_bulk.loading.workers import Workers, open_workers
from sparkify_bulk.report import Report
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.source.manifest import Manifest

logger = logging.getLogger("sparkify_bulk")


def prepare_staging(
    run: Run, manifests: dict[Kind, Manifest], *, record_by_record: bool = False
) -> Target:
    """Make staging tables for as many workers as settings allow, but no more than batches.

    Args:
        run: the run.
        manifests: what it will read.
        record_by_record: read record by record.
    """
    jobs = run.settings.jobs
    target = Target(
        run.schemas.staging,
        run.run_id,
        max(1, min(jobs, sum(manifest.look_ahead(jobs) for manifest in manifests.values()))),
        roots=run.roots,
        record_by_record=record_by_record,
        max_rejects=run.settings.max_rejects,
        mark=run.mark,
    )
    marks.make_schema(run.control, run.schemas, run.schemas.staging)
    make_staging(run.control, target)
    return target


@contextlib.contextmanager
def run_workers(run: Run, target: Target) -> Iterator[Workers]:
    """Open a run's workers, and count the work of their backends in its phases.

    Raises:
        DatabaseError: the server can't be reached or refused.
    """
    with (
        open_workers(run.dsn, target.workers) as workers,
        run.phases.counting(*workers.connections),
    ):
        yield workers


def stage_kind(
    run: Run,
    workers: Workers,
    manifest: Manifest | None,
    target: Target,
    straight: Straight | None = None,
) -> Iterator[Staged]:
    """Stage all batches of one kind; yield the results as they come.

    Args:
        run: the run.
        workers: who does it.
        manifest: what to read; None if the kind has no folder.
        target: the run's tables.
        straight: lets plays go straight into a new star; None to stage them.

    Raises:
        RejectLimitError: more records were rejected than the settings allow.
    """
    if manifest is None:
        return
    kind = manifest.kind
    total = Staged()
    with run.phases.phase(f"stage {kind}", run.report.input.of(kind)):
        for staged in workers.each(stage_batch, _expected(run, manifest), target, straight):
            total += Staged(staged.counts, staged.parts)
            enter(run.report, kind, staged.counts)
            _check_limit(run)
            read = staged.counts
            run.phases.watch.advance(files=read.files, bytes_=read.bytes, records=read.records)
            yield staged
        if total.parts:
            task = workers.submit(stage_parts, target, kind, manifest.root, total.parts)
            yield Staged(task.result())
    run.report.input.of(kind).left_out = dict(manifest.left_out.counts)
    _tell_unknown_levels(total.counts.unknown_levels)


def enter(report: Report, kind: Kind, counts: Counts) -> None:
    """Add to a report how much was read of a kind, and what was rejected."""
    totals = report.input.of(kind)
    totals.files += counts.files
    totals.bytes += counts.bytes
    totals.records += counts.records
    totals.accepted += counts.accepted
    totals.filtered += counts.filtered
    totals.rejected += counts.rejected
    for reason, number in counts.reasons.items():
        report.rejects.add(reason, number)


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
        run.phases.watch.expect(files=manifest.files, bytes_=manifest.size)
    yield from manifest.batches
    run.phases.watch.expect(files=manifest.files, bytes_=manifest.size)


def _check_limit(run: Run) -> None:
    rejects, limit = run.report.rejects, run.settings.max_rejects
    if limit is not None and rejects.count > limit:
        raise RejectLimitError(
            f"{rejects.count} records were rejected, {limit} are allowed; the star is untouched",
            hint="look at them with sparkify-bulk rejects, or raise --max-rejects",
        )
