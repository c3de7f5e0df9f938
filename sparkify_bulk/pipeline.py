"""The stories: what `reload`, `load`, `verify` and `replay` do, step by step.

Sole owner of threads and cancellation.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice

import psycopg

from sparkify_bulk import ledger
from sparkify_bulk.database.transaction import use_schemas
from sparkify_bulk.errors import BooksError, DatabaseError, SparkifyBulkError, UsageError
from sparkify_bulk.extract.batch import retry
from sparkify_bulk.extract.counts import Extract, concat_frames
from sparkify_bulk.loading import marks, merge, shrink, state
from sparkify_bulk.loading.batches import Target, see_staging, stage_again, unsee_staging
from sparkify_bulk.loading.collect import prepare_staging, run_lanes, stage_kind
from sparkify_bulk.loading.estimate import Estimate, estimate
from sparkify_bulk.loading.merge import Difference
from sparkify_bulk.loading.rebuild import build_star
from sparkify_bulk.loading.switch import Swap, losses, switch
from sparkify_bulk.report import Report
from sparkify_bulk.run import (
    Run,
    Unwatched,
    Watch,
    books_of,
    commit,
    open_connection,
    open_run,
    phase,
    stop_watch,
)
from sparkify_bulk.settings import Settings, schemas
from sparkify_bulk.source.batches import KINDS, Kind
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
from sparkify_bulk.tables import NAMES
from sparkify_bulk.units import count, show_age

logger = logging.getLogger("sparkify_bulk")

Listers = Mapping[Kind, Listing]

_Story = Callable[[Settings, Watch, Listers | None], Report]

# Before a run begins anew, doubled each time: a server is back from a fast restart after the first,
# and a standby took over after the third.
_FIRST_PAUSE_SECONDS = 2.0
_LOCK_PATIENCE_SECONDS = 30.0
# Tables of the ledger that a reload makes anew.
_SWITCHED = ("files",)
# How many rejects are read again at a time.
_REPLAY_ROWS = 5000


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
    return _persist(_reload, settings, watch or Unwatched(), listers)


def load(settings: Settings, watch: Watch | None = None, listers: Listers | None = None) -> Report:
    """Merge new and changed files into the live star; make one if there is none.

    Args:
        settings: what to read, and where to.
        watch: told how it goes on.
        listers: list the folders already.

    Raises:
        SparkifyBulkError: the run failed; the star is untouched.
    """
    return _persist(_load, settings, watch or Unwatched(), listers)


def verify(settings: Settings, watch: Watch | None = None) -> tuple[Report, list[Difference]]:
    """Read all files again, record by record, and compare what they say with the star.

    Nothing is published: the star built for the comparison is dropped.

    Raises:
        SparkifyBulkError: the run failed, or there is no star.
    """
    with open_run("verify", settings, watch or Unwatched()) as run:
        state.require_star(run.control, run.schemas.star)
        build_star(run, _list_files(run), slowly=True)
        with phase(run, "compare"), run.control.transaction():
            merge.prepare(run.control)
            differences = merge.compare(run.control, run.schemas.star, run.schemas.build)
        run.report.status = "failed" if differences else "succeeded"
        if differences:
            run.report.error = "star and files differ"
        _complete(run)
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
    with open_run("replay", settings, watch or Unwatched()) as run:
        run.grows = True
        state.require_star(run.control, run.schemas.star)
        if run_id is not None:
            ledger.choose_run(run.control, run.schemas.ledger, run_id)
        run.last = state.require_same_run(run.control, run.schemas)
        target = run.target = prepare_staging(run, {})
        with phase(run, "stage rejects"), run.control.transaction():
            settled = _stage_rejects(run, target, run_id, repaired)
        _merge_live(run, target)
        with phase(run, "commit"):
            ledger.settle_rejects(run.publisher, run.run_id, settled)
            unsee_staging(run.publisher)
            _publish(run)
    return run.report


def plan(settings: Settings) -> tuple[dict[Kind, Manifest], Estimate | None]:
    """Say what a load would read, and how long that would take; None if history says too little.

    Nothing is written, and no lock is taken.

    Raises:
        SparkifyBulkError: the folders or the database can't be read.
    """
    names = schemas(settings.schema)
    with open_connection(settings.dsn, names.star, names.ledger) as connection:
        grows = state.star_exists(connection, names.star)
        if grows:
            state.require_same_run(connection, names)
        known = partial(ledger.known_files, connection, names.ledger) if grows else None
        manifests = _list_kinds(settings, known)
        for manifest in manifests.values():
            manifest.look_ahead()
        past = ledger.past_runs(connection, names.ledger)
    size = sum(manifest.size for manifest in manifests.values())
    return manifests, estimate(past, size)


def _persist(story: _Story, settings: Settings, watch: Watch, listers: Listers | None) -> Report:
    """Run a story; begin anew, as a new run, where the database failed in passing.

    Nothing is published before the end, so to begin anew is always safe.
    """
    for attempt in range(settings.retries):
        try:
            return story(settings, watch, listers)
        except DatabaseError as error:
            if not error.passing and not (attempt and error.unreachable):
                raise
            pause = _FIRST_PAUSE_SECONDS * 2**attempt
            logger.warning("%s; trying again in %g s", error.message, pause)
            time.sleep(pause)
            listers = None
            # The server may not know yet that the one before is gone, and keep its lock.
            settings = replace(settings, wait=max(settings.wait, _LOCK_PATIENCE_SECONDS))
    return story(settings, watch, listers)


def _reload(settings: Settings, watch: Watch, listers: Listers | None) -> Report:
    with open_run("reload", settings, watch) as run:
        state.star_exists(run.control, run.schemas.star, replace=True)
        _check_dependents(run)
        manifests = _list_files(run, listers)
        shrink.check_input(run, manifests)
        _rebuild(run, manifests)
    return run.report


def _load(settings: Settings, watch: Watch, listers: Listers | None) -> Report:
    with open_run("load", settings, watch) as run:
        run.grows = state.star_exists(run.control, run.schemas.star)
        if run.grows:
            run.last = state.require_same_run(run.control, run.schemas)
        manifests = _list_files(run, listers)
        if not run.grows:
            _rebuild(run, manifests)
            return run.report
        target = run.target = prepare_staging(run, manifests)
        with run_lanes(run, target) as lanes:
            for kind in KINDS:
                for _ in stage_kind(run, lanes, manifests.get(kind), target):
                    pass
        _tell_left_out(manifests)
        _merge_live(run, target)
        with phase(run, "commit"):
            _keep_rejects(run)
            ledger.carry_settled(run.publisher, run.run_id)
            ledger.keep_files(run.publisher)
            unsee_staging(run.publisher)
            _publish(run)
    return run.report


# --- steps --------------------------------------------------------------------------------------


def _rebuild(run: Run, manifests: dict[Kind, Manifest]) -> None:
    """Build a star of these files alone, and put it in the place of the one that may be there."""
    build_star(run, manifests, partial(_keep_aside, run))
    _tell_left_out(manifests)
    shrink.check_rows(run)
    with phase(run, "switch"):
        _publish(run, last=partial(_switch, run))


def _list_files(run: Run, listers: Listers | None = None) -> dict[Kind, Manifest]:
    """List the files that a star isn't made of yet; for a new star all, as they are read."""
    if not run.grows:
        return _list_kinds(run.settings, None, listers)
    known = partial(ledger.known_files, run.control, run.schemas.ledger)
    with phase(run, "list files"):
        manifests = _list_kinds(run.settings, known, listers)
        for manifest in manifests.values():
            manifest.look_ahead()
    for manifest in manifests.values():
        books_of(run.report, manifest.kind).files_skipped = manifest.same
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
        hint = "files end in .json, .jsonl or .ndjson, also with .gz or .zst behind"
        left_out = describe_left_out((m.root, m.left_out) for m in manifests.values())
        raise UsageError(
            f"no song or log files in {roots}",
            hint=f"{hint}. Left out: {left_out}" if left_out else hint,
        )
    return manifests


def _is_same(store: Store, path: str, known: Known) -> bool:
    """Compare a file's content with what the ledger has; one that can't be read is read later."""
    try:
        return digest_file(store, path) == known.digest
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
            "All %s files below %s are read: the star was made of files below %s so far. If that "
            "folder was moved or is mounted elsewhere now, reload once, or see docs/rules.md on "
            "folders that move",
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


def _merge_live(run: Run, target: Target) -> None:
    """Merge everything staged into the live star, in the publisher's transaction."""
    star, connection = run.schemas.star, run.publisher
    with phase(run, "merge"):
        use_schemas(connection, star, run.schemas.ledger)
        merge.prepare(connection)
        see_staging(connection, target)
        merge.check_staged(connection, dict(run.sent))
        before = _count_rows(run)
        tables = run.report.tables
        tables["artists"] = merge.run_merge(connection, "artists")
        merge.note_credits(connection)
        tables["songs"] = merge.run_merge(connection, "songs")
        merge.note_credits(connection)
        for name in ("users", "time", "songplays"):
            tables[name] = merge.run_merge(connection, name)
        tables["songplays"].updated += merge.run_merge(connection, "claims").updated
        _enter_rows(run, {name: before[name] + tables[name].inserted for name in NAMES})


def _count_rows(run: Run) -> dict[str, int]:
    """Count the live star's rows, and say so if they aren't those that the last run left."""
    if run.last is None:
        raise BooksError("no run is known that left the star")
    rows = state.count_rows(run.publisher, run.schemas.star, run.last)
    if changed := state.changed_by_hand(rows, run.last):
        logger.warning(
            "Rows of the star were changed by hand after run %d: %s; sparkify-bulk verify DATA "
            "names them, reload DATA makes the star anew from the files",
            run.last.run_id,
            changed,
        )
    return rows


def _enter_rows(run: Run, rows: dict[str, int]) -> None:
    for name in NAMES:
        run.report.tables[name].rows = rows[name]


def _stage_rejects(
    run: Run, target: Target, run_id: int | None, repaired: Mapping[int, bytes] | None
) -> list[int]:
    """Stage the rejects that are good now; return their numbers."""
    settled = []
    rejects = ledger.open_rejects(run.control, run.schemas.ledger, run_id)
    if repaired is not None:
        rejects = (r.mended(repaired[r.reject_id]) for r in rejects if r.reject_id in repaired)
    while some := list(islice(rejects, _REPLAY_ROWS)):
        for kind in KINDS:
            settled += _stage_kind_again(run, target, [r for r in some if r.kind == kind], kind)
    return settled


def _stage_kind_again(
    run: Run, target: Target, rejects: list[ledger.OpenReject], kind: Kind
) -> list[int]:
    books = books_of(run.report, kind)
    names: list[str] = []
    settled: list[int] = []
    parts: list[Extract] = []
    for reject in rejects:
        part = retry(kind, len(names), reject.offset, reject.raw)
        if part.rejects or not part.records.height:
            books.records += 1
            books.rejected += 1
            run.report.rejects.add(part.rejects[0].reason if part.rejects else "malformed_json")
            continue
        books.records += int(part.records["number"].sum())
        books.filtered += int(part.filtered["number"].sum())
        books.accepted += part.frame.height
        names.append(reject.file)
        settled.append(reject.reject_id)
        parts.append(part)
    if parts:
        frame = concat_frames(parts)
        run.sent.update(stage_again(run.control, target, kind, frame, names))
    return settled


def _keep_aside(run: Run, target: Target) -> None:
    """Move rejects to the ledger in a transaction that hasn't seen staging yet."""
    use_schemas(run.publisher, run.schemas.ledger)
    see_staging(run.publisher, target)
    sent = {"staged_rejects": run.sent["staged_rejects"]}
    merge.check_staged(run.publisher, sent)
    _keep_rejects(run)
    unsee_staging(run.publisher)


def _keep_rejects(run: Run) -> None:
    """Move rejects to the ledger, and compare those kept with those counted."""
    use_schemas(run.publisher, run.schemas.ledger)
    kept = ledger.keep_rejects(run.publisher, run.run_id)
    rejected = run.report.input.songs.rejected + run.report.input.events.rejected
    if not kept == rejected == run.report.rejects.count:
        raise BooksError(f"{rejected} records were rejected, {kept} are on record")


def _publish(run: Run, last: Callable[[], None] | None = None) -> None:
    """Commit at once: the ledger's rows, and the new star or the merged rows."""
    report = run.report
    for books, table in ((report.input.songs, "songs"), (report.input.events, "songplays")):
        books.inserted = report.tables[table].inserted
        books.duplicates = books.accepted - books.inserted
    report.status = "succeeded_with_rejects" if report.rejects.count else "succeeded"
    state.name_run(run.publisher, run.schemas, run.run_id, report.started_at)
    _complete(run, last)
    _note_states(run)
    if report.rejects.count:
        logger.warning("%s; see: sparkify-bulk rejects", report.rejects.describe())


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


def _check_dependents(run: Run) -> None:
    """Refuse a reload up front where something hangs on the star that can't follow the switch.

    Raises:
        SparkifyBulkError: names what it is.
    """
    swaps = _swaps(run)
    marks.make_schema(run.control, run.schemas, run.schemas.build)
    found, gone = losses(run.control, swaps)
    if gone:
        logger.warning("The reload will drop temporary objects of sessions: %s", ", ".join(gone))
    if not found:
        return
    names = ", ".join(found)
    if run.settings.drop_dependents:
        logger.warning("The reload will drop what hangs on the old star: %s", names)
        run.dropped = tuple(found)
        return
    raise SparkifyBulkError(
        f"a reload would leave behind what hangs on the star in {run.schemas.star}: {names}",
        hint="drop it before the reload, or by --drop-dependents, and make it again afterwards; "
        "or use load",
    )


def _swaps(run: Run) -> tuple[Swap, ...]:
    names = run.schemas
    return (Swap(names.ledger, names.build, _SWITCHED), Swap(names.star, names.build))


def _switch(run: Run) -> None:
    """Put the new star, and the table of its files, in the old ones' place."""
    use_schemas(run.publisher, run.schemas.ledger)
    ledger.forget_vanished(run.publisher)
    switch(
        run.publisher,
        _swaps(run),
        dsn=run.dsn,
        patience=run.settings.switch_patience,
        dropped=run.dropped,
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


def _complete(run: Run, last: Callable[[], None] | None = None) -> None:
    """Complete the run's record and commit; what readers wait for comes last."""
    use_schemas(run.publisher, run.schemas.build if last else run.schemas.star)
    _check_freshness(run)
    stop_watch(run.report, run.begun)
    use_schemas(run.publisher, run.schemas.ledger)
    ledger.complete_run(run.publisher, run.run_id, run.report, exit_code=run.report.exit_code)
    if last:
        last()
    commit(run)
