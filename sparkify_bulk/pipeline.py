"""The stories: what `reload`, `load`, `verify` and `replay` do, in numbered steps.

A step's name is the name of its phase in the report.
"""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from itertools import islice
from typing import Protocol

import psycopg

from sparkify_bulk import ledger
from sparkify_bulk.database.server import open_connection
from sparkify_bulk.database.transaction import use_schemas
from sparkify_bulk.errors import CountMismatchError, DatabaseError, SparkifyBulkError, UsageError
from sparkify_bulk.extract.batch import retry
from sparkify_bulk.extract.counts import Extract, concat_frames
from sparkify_bulk.loading import marks, merge, shrink, state
from sparkify_bulk.loading.batches import Counts, stage_again
from sparkify_bulk.loading.collect import enter, prepare_staging, run_workers, stage_kind
from sparkify_bulk.loading.context import Run, Unwatched, Watch
from sparkify_bulk.loading.estimate import Estimate, estimate
from sparkify_bulk.loading.merge import Difference
from sparkify_bulk.loading.rebuild import open_new_star
from sparkify_bulk.loading.staging import COUNTED, Target, see_staging, unsee_staging
from sparkify_bulk.loading.switch import Swap, losses, switch
from sparkify_bulk.loading.workers import Step, Worker
from sparkify_bulk.report import Report
from sparkify_bulk.run import commit, open_run, stop_watch
from sparkify_bulk.settings import Settings, schemas
from sparkify_bulk.source.batches import KINDS, Kind
from sparkify_bulk.source.input import EXPECTED_FILES
from sparkify_bulk.source.listing import Listing
from sparkify_bulk.source.manifest import (
    Known,
    Manifest,
    describe_left_out,
    input_stores,
    make_manifest,
)
from sparkify_bulk.source.names import root_name
from sparkify_bulk.source.reading import UNREADABLE, digest_file
from sparkify_bulk.source.store import Store
from sparkify_bulk.units import count, show_age

logger = logging.getLogger("sparkify_bulk")

Listers = Mapping[Kind, Listing]

# Before a run begins anew, doubled each time: a server is back from a fast restart after the first,
# and a standby took over after the third.
_FIRST_PAUSE_SECONDS = 2.0
_LOCK_PATIENCE_SECONDS = 30.0
# Tables of the ledger that a reload makes anew.
_SWITCHED = ("files",)
# How many rejects are read again at a time.
_REPLAY_ROWS = 5000


class _Story(Protocol):
    def __call__(
        self, settings: Settings, watch: Watch | None = None, listers: Listers | None = None
    ) -> Report: ...


def _retried(story: _Story) -> _Story:
    """Retry a story, as a new run, after a transient database error.

    Nothing is published before the end, so to begin again is always safe.
    """

    @wraps(story)
    def persist(
        settings: Settings, watch: Watch | None = None, listers: Listers | None = None
    ) -> Report:
        for attempt in range(settings.retries):
            try:
                return story(settings, watch, listers)
            except DatabaseError as error:
                if not error.transient and not (attempt and error.unreachable):
                    raise
                pause = _FIRST_PAUSE_SECONDS * 2**attempt
                logger.warning("%s; trying again in %g s", error.message, pause)
                time.sleep(pause)
                listers = None
                # The server may not know yet that the one before is gone, and keep its lock.
                settings = replace(settings, wait=max(settings.wait, _LOCK_PATIENCE_SECONDS))
        return story(settings, watch, listers)

    return persist


@_retried
def reload(
    settings: Settings, watch: Watch | None = None, listers: Listers | None = None
) -> Report:
    """Build the star anew from all files, and let it replace the old one at once.

    Args:
        settings: what to read, and where to.
        watch: told how it goes on.
        listers: list the folders already.

    Raises:
        SparkifyBulkError: the run failed; the old star is untouched.
    """
    # 1. connect
    with open_run("reload", settings, watch or Unwatched()) as run:
        state.star_exists(run.control, run.schemas.star, replace=True)
        dropped = _check_dependents(run)
        manifests = _list_kinds(run.settings, None, listers)
        shrink.check_input(run, manifests)
        # 2. to 5.
        _build(run, manifests)
        # 6. switch
        _take_place(run, manifests, dropped)
    return run.report


@_retried
def load(settings: Settings, watch: Watch | None = None, listers: Listers | None = None) -> Report:
    """Merge new and changed files into the live star; make one if there is none.

    Args:
        settings: what to read, and where to.
        watch: told how it goes on.
        listers: list the folders already.

    Raises:
        SparkifyBulkError: the run failed; the star is untouched.
    """
    # 1. connect
    with open_run("load", settings, watch or Unwatched()) as run:
        if not state.star_exists(run.control, run.schemas.star):
            # 2. to 6. of a reload
            manifests = _list_kinds(run.settings, None, listers)
            _build(run, manifests)
            _take_place(run, manifests)
            return run.report
        last = state.require_same_run(run.control, run.schemas)
        # 2. list files
        manifests = _list_new_files(run, listers)
        target = prepare_staging(run, manifests)
        staged = Counts()
        with run_workers(run, target) as workers:
            # 3. stage songs
            for batch in stage_kind(run, workers, manifests.get("songs"), target):
                staged += batch.counts
            # 4. stage events
            for batch in stage_kind(run, workers, manifests.get("events"), target):
                staged += batch.counts
        _tell_left_out(manifests)
        # 5. merge
        with run.phases.phase("merge"):
            _merge_live(run, target, staged, last)
        # 6. commit
        with run.phases.phase("commit"):
            _keep_rejects(run)
            ledger.carry_resolved(run.publisher, run.run_id)
            ledger.keep_files(run.publisher)
            unsee_staging(run.publisher)
            _complete(run, star=run.schemas.star)
            _publish(run)
    return run.report


def verify(settings: Settings, watch: Watch | None = None) -> tuple[Report, list[Difference]]:
    """Read all files again, record by record, and compare what they say with the star.

    Nothing is published: the star built for the comparison is dropped.

    Raises:
        SparkifyBulkError: the run failed, or there is no star.
    """
    # 1. connect
    with open_run("verify", settings, watch or Unwatched()) as run:
        state.require_star(run.control, run.schemas.star)
        # 2. to 5.
        _build(run, _list_kinds(run.settings, None), only_to_compare=True)
        # 6. compare
        with run.phases.phase("compare"), run.control.transaction():
            merge.prepare(run.control)
            differences = merge.compare(run.control, run.schemas.star, run.schemas.build)
        run.report.status = "failed" if differences else "succeeded"
        if differences:
            run.report.error = "star and files differ"
        _complete_record(run, star=run.schemas.star)
        commit(run)
    return run.report, differences


def replay(
    settings: Settings,
    watch: Watch | None = None,
    *,
    run_id: int | None = None,
    repaired: Mapping[int, bytes] | None = None,
) -> Report:
    """Load rejected records again, after the rules or the records were mended.

    Args:
        settings: the database and the star; input folders don't count.
        watch: told how it goes on.
        run_id: only the rejects of this run.
        repaired: bytes that stand for those of a reject, by `reject_id`; these rejects only.

    Raises:
        SparkifyBulkError: the run failed, or there is no star.
    """
    # 1. connect
    with open_run("replay", settings, watch or Unwatched()) as run:
        state.require_star(run.control, run.schemas.star)
        if run_id is not None:
            ledger.choose_run(run.control, run.schemas.ledger, run_id)
        last = state.require_same_run(run.control, run.schemas)
        target = prepare_staging(run, {})
        # 2. stage rejects
        with run.phases.phase("stage rejects"), run.control.transaction():
            staged, resolved = _stage_rejects(run, target, run_id, repaired)
        # 3. merge
        with run.phases.phase("merge"):
            _merge_live(run, target, staged, last)
        # 4. commit
        with run.phases.phase("commit"):
            ledger.resolve_rejects(run.publisher, run.run_id, resolved)
            unsee_staging(run.publisher)
            _complete(run, star=run.schemas.star)
            _publish(run)
    return run.report


def _build(run: Run, manifests: dict[Kind, Manifest], *, only_to_compare: bool = False) -> None:
    """Build a star of these files alone, beside the one that may be there.

    Args:
        run: the run.
        manifests: the files.
        only_to_compare: nothing of it will be published; read record by record.
    """
    with open_new_star(run, manifests, record_by_record=only_to_compare) as star:
        # 2. stage songs
        for staged in stage_kind(run, star.workers, manifests.get("songs"), star.target):
            star.add_songs(staged)
        star.merge_songs()
        # 3. stage events
        events = manifests.get("events")
        for staged in stage_kind(run, star.workers, events, star.target, star.straight):
            star.add_events(staged)
        star.end_staging()
        # 4. match songplays: only where they couldn't go straight into the star
        if star.straight is None:
            with run.phases.phase("match songplays"):
                star.match_songplays()
        # 5. complete star
        with run.phases.phase("complete star") as steps:
            last_steps, results = star.last_steps(), {}
            if not only_to_compare:
                keep = partial(_keep_aside, run=run, target=star.target, staged=star.counts)
                last_steps.append(Step("ledger", keep, connection=run.publisher))
            for ended in star.workers.run(*last_steps):
                steps.append(run.phases.step(ended))
                results[ended.name] = ended.result
            star.check(results)
    run.report.tables.update(star.tables)


def _take_place(run: Run, manifests: dict[Kind, Manifest], dropped: Collection[str] = ()) -> None:
    """Put the new star in the place of the one that may be there, and publish.

    Args:
        run: the run.
        manifests: what the new star is made of.
        dropped: names of what may be dropped with the old one.
    """
    _tell_left_out(manifests)
    shrink.check_rows(run)
    # 6. switch
    with run.phases.phase("switch"):
        _complete(run, star=run.schemas.build)
        # What readers wait for comes last.
        _switch(run, dropped)
        _publish(run)


def plan(settings: Settings) -> tuple[dict[Kind, Manifest], Estimate | None]:
    """Say what a load would read, and how long that would take; None if history says too little.

    Nothing is written, and no lock is taken.

    Raises:
        SparkifyBulkError: the folders or the database can't be read.
    """
    names = schemas(settings.schema)
    with open_connection(settings.dsn, names.star, names.ledger) as connection:
        is_incremental = state.star_exists(connection, names.star)
        if is_incremental:
            state.require_same_run(connection, names)
        known = partial(ledger.known_files, connection, names.ledger) if is_incremental else None
        manifests = _list_kinds(settings, known)
        for manifest in manifests.values():
            manifest.look_ahead()
        past = ledger.past_runs(connection, names.ledger)
    size = sum(manifest.size for manifest in manifests.values())
    return manifests, estimate(past, size)


# --- steps --------------------------------------------------------------------------------------


def _list_new_files(run: Run, listers: Listers | None) -> dict[Kind, Manifest]:
    """List the files that the star isn't made of yet."""
    known = partial(ledger.known_files, run.control, run.schemas.ledger)
    with run.phases.phase("list files"):
        manifests = _list_kinds(run.settings, known, listers)
        for manifest in manifests.values():
            manifest.look_ahead()
    for manifest in manifests.values():
        run.report.input.of(manifest.kind).files_skipped = manifest.same
        _tell_vanished(run, manifest)
        _tell_moved(run, manifest)
    return manifests


def _list_kinds(
    settings: Settings,
    known: Callable[[Kind, str], Iterator[Known]] | None,
    listers: Listers | None = None,
) -> dict[Kind, Manifest]:
    manifests: dict[Kind, Manifest] = {}
    for kind, store in input_stores(settings).items():
        manifests[kind] = make_manifest(
            kind,
            store,
            known=known(kind, store.address) if known else (),
            is_same=partial(_is_same, store) if settings.rehash else None,
            listing=listers.get(kind) if listers else None,
        )
    if not any(manifest.look_ahead(1) + manifest.same for manifest in manifests.values()):
        roots = " or ".join(manifest.root for manifest in manifests.values())
        left_out = describe_left_out((m.root, m.left_out) for m in manifests.values())
        raise UsageError(
            f"no song or log files in {roots}",
            hint=EXPECTED_FILES + (f". Left out: {left_out}" if left_out else ""),
        )
    return manifests


def _is_same(store: Store, path: str, known: Known) -> bool:
    """Compare a file's content with what the ledger has; one that can't be read is read later."""
    try:
        return digest_file(store, path, known.size) == known.digest
    except UNREADABLE:
        return False


def _tell_left_out(manifests: dict[Kind, Manifest]) -> None:
    """Say what the folders hold that isn't read, once all of them are listed."""
    left_out = describe_left_out((m.root, m.left_out) for m in manifests.values())
    if left_out:
        logger.warning("Left out: %s", left_out)


def _tell_moved(run: Run, manifest: Manifest) -> None:
    """Say that all files of a folder are read because the star is made of another folder's."""
    if manifest.same or not manifest.files:
        return
    others = ledger.other_roots(run.control, run.schemas.ledger, manifest.kind, manifest.root)
    if others:
        logger.warning(
            "All %s files below %s are read as new: so far the star was loaded from %s. If the "
            'folder was moved, reload once, or see "Which files a load reads" in docs/rules.md',
            manifest.kind,
            root_name(manifest.root),
            others[0],
        )


def _tell_vanished(run: Run, manifest: Manifest) -> None:
    """Warn of files that are gone, once: their rows stay until the next reload."""
    kind, gone = manifest.kind, manifest.vanished
    new = ledger.note_vanished(run.control, run.schemas.ledger, kind, run.roots[kind], gone)
    if new:
        noun = {"songs": "song file", "events": "event file"}[kind]
        logger.warning(
            "%s %s gone (for example %s); their rows are kept until the next reload; "
            "sparkify-bulk plan lists them",
            count(len(new), noun),
            "is" if len(new) == 1 else "are",
            min(new),
        )


def _merge_live(run: Run, target: Target, staged: Counts, last: ledger.Published) -> None:
    """Merge everything staged into the live star, in the publisher's transaction.

    Args:
        run: the run.
        target: where it is staged.
        staged: how much.
        last: the run that left the star.
    """
    star, connection = run.schemas.star, run.publisher
    use_schemas(connection, star, run.schemas.ledger)
    merge.prepare(connection)
    see_staging(connection, target)
    merge.check_staged(connection, dict.fromkeys(COUNTED, 0) | staged.rows)
    before = _count_rows(run, last)
    for name, merged in merge.merge_all(connection).items():
        merged.rows = before[name] + merged.inserted
        run.report.tables[name] = merged


def _count_rows(run: Run, last: ledger.Published) -> dict[str, int]:
    """Count the live star's rows, and say so if they aren't those that the last run left."""
    rows = state.count_rows(run.publisher, run.schemas.star, last)
    if changed := state.changed_by_hand(rows, last):
        logger.warning(
            "Rows of the star were changed by hand after run %d: %s; sparkify-bulk verify DATA "
            "shows them, reload DATA rebuilds the star",
            last.run_id,
            changed,
        )
    return rows


def _stage_rejects(
    run: Run, target: Target, run_id: int | None, repaired: Mapping[int, bytes] | None
) -> tuple[Counts, list[int]]:
    """Stage the rejects that are good now; return the rows sent, and the rejects' numbers."""
    staged, resolved = Counts(), []
    rejects = ledger.open_rejects(run.control, run.schemas.ledger, run_id)
    if repaired is not None:
        rejects = (r.mended(repaired[r.reject_id]) for r in rejects if r.reject_id in repaired)
    while some := list(islice(rejects, _REPLAY_ROWS)):
        for kind in KINDS:
            counts, good = _stage_kind_again(run, target, [r for r in some if r.kind == kind], kind)
            enter(run.report, kind, counts)
            staged += counts
            resolved += good
    return staged, resolved


def _stage_kind_again(
    run: Run, target: Target, rejects: list[ledger.OpenReject], kind: Kind
) -> tuple[Counts, list[int]]:
    """Stage rejects of one kind; return how many records these are, and the numbers of the good."""
    counts = Counts()
    names: list[str] = []
    resolved: list[int] = []
    parts: list[Extract] = []
    for reject in rejects:
        part = retry(kind, len(names), reject.offset, reject.raw)
        if part.rejects or not part.records.height:
            reason = part.rejects[0].reason if part.rejects else "malformed_json"
            counts += Counts(records=1, rejected=1, reasons=Counter([reason]))
            continue
        counts += Counts(
            records=int(part.records["number"].sum()),
            filtered=int(part.filtered["number"].sum()),
            accepted=part.frame.height,
        )
        names.append(reject.file)
        resolved.append(reject.reject_id)
        parts.append(part)
    if parts:
        counts += stage_again(run.control, target, kind, concat_frames(parts), names)
    return counts, resolved


def _keep_aside(_: Worker, run: Run, target: Target, staged: Counts) -> None:
    """Move rejects to the ledger in a transaction that hasn't seen staging yet."""
    use_schemas(run.publisher, run.schemas.ledger)
    see_staging(run.publisher, target)
    merge.check_staged(run.publisher, {"staged_rejects": staged.rows["staged_rejects"]})
    _keep_rejects(run)
    unsee_staging(run.publisher)


def _keep_rejects(run: Run) -> None:
    """Move rejects to the ledger, and compare those kept with those counted."""
    use_schemas(run.publisher, run.schemas.ledger)
    kept = ledger.keep_rejects(run.publisher, run.run_id)
    rejected = run.report.input.songs.rejected + run.report.input.events.rejected
    if not kept == rejected == run.report.rejects.count:
        raise CountMismatchError(f"{rejected} records were rejected, but the ledger has {kept}")


def _complete(run: Run, star: str) -> None:
    """Complete the report and the records of a run whose rows are in a star, not committed yet."""
    report = run.report
    for counts, table in ((report.input.songs, "songs"), (report.input.events, "songplays")):
        counts.inserted = report.tables[table].inserted
        counts.duplicates = counts.accepted - counts.inserted
    report.status = "succeeded_with_rejects" if report.rejects.count else "succeeded"
    state.name_run(run.publisher, run.schemas, run.run_id, report.started_at)
    _complete_record(run, star)


def _complete_record(run: Run, star: str) -> None:
    """Complete the run's record, the newest event of a star and all."""
    use_schemas(run.publisher, star)
    _check_freshness(run)
    stop_watch(run.report, run.phases.begun)
    use_schemas(run.publisher, run.schemas.ledger)
    ledger.complete_run(run.publisher, run.run_id, run.report, exit_code=run.report.exit_code)


def _publish(run: Run) -> None:
    """Commit at once: the ledger's rows, and the new star or the merged rows."""
    commit(run)
    _note_states(run)
    if run.report.rejects.count:
        logger.warning("%s; see: sparkify-bulk rejects", run.report.rejects.describe())


def _note_states(run: Run) -> None:
    """Note how the tables are now, so that the next run need not count what nobody has changed."""
    # Whatever fails here, the run is published: the next one counts.
    with contextlib.suppress(psycopg.Error):
        # Else the server would learn only later how many rows this session has written.
        run.publisher.execute("SELECT pg_catalog.pg_stat_force_next_flush()")
        with run.control.transaction():
            use_schemas(run.control, "pg_catalog")
            found = state.table_states(run.control, run.schemas.star)
            use_schemas(run.control, run.schemas.ledger)
            states = {name: text for name, (_, text) in found.items() if text}
            ledger.note_states(run.control, run.run_id, states)


def _check_dependents(run: Run) -> Sequence[str]:
    """Refuse a reload up front where something hangs on the star that can't follow the switch.

    Returns:
        The names of what the switch may drop.

    Raises:
        SparkifyBulkError: names what it is.
    """
    swaps = _swaps(run)
    marks.make_schema(run.control, run.schemas, run.schemas.build)
    found, gone = losses(run.control, swaps)
    if gone:
        logger.warning("The reload will drop temporary objects of sessions: %s", ", ".join(gone))
    if not found:
        return ()
    names = ", ".join(found)
    if run.settings.drop_dependents:
        logger.warning("The reload will drop these dependent objects: %s", names)
        return found
    raise SparkifyBulkError(
        "a reload can't carry over these objects that depend on the star in "
        f"{run.schemas.star}: {names}",
        hint="drop them first, or use --drop-dependents, and create them again afterwards; "
        "or use load",
    )


def _swaps(run: Run) -> tuple[Swap, ...]:
    names = run.schemas
    return (Swap(names.ledger, names.build, _SWITCHED), Swap(names.star, names.build))


def _switch(run: Run, dropped: Collection[str]) -> None:
    """Put the new star, and the table of its files, in the old ones' place."""
    use_schemas(run.publisher, run.schemas.ledger)
    ledger.forget_vanished(run.publisher)
    switch(
        run.publisher,
        _swaps(run),
        dsn=run.dsn,
        patience=run.settings.switch_patience,
        dropped=dropped,
    )


def _check_freshness(run: Run) -> None:
    """Enter how old the star's newest event is, and whether that is too old."""
    report, limit = run.report, run.settings.max_age
    report.newest_event = merge.newest_event(run.publisher)
    if limit is None:
        return
    report.stale = report.newest_event is None or report.started_at - report.newest_event > limit
    if report.stale:
        newest = report.newest_event
        found = f"The newest event is of {newest:%Y-%m-%d %H:%M} UTC" if newest else None
        logger.warning(
            "%s; --max-age %s is not met", found or "No events loaded yet", show_age(limit)
        )
