"""The stories: what `reload`, `load`, `verify` and `replay` do, step by step.

Sole owner of threads and cancellation.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, as_completed, wait
from functools import partial
from itertools import islice

from psycopg import sql

from sparkify_bulk import ledger, merge
from sparkify_bulk.connection import Connection, connect
from sparkify_bulk.errors import BooksError, RejectLimitError, SparkifyBulkError, UsageError
from sparkify_bulk.extract import UNREADABLE, Extract, concat_frames, digest_file, retry
from sparkify_bulk.manifest import KINDS, Batch, Kind, Known, Manifest, make_manifest
from sparkify_bulk.merge import Difference
from sparkify_bulk.report import Report, TableReport
from sparkify_bulk.run import (
    Run,
    Unwatched,
    Watch,
    add_phase,
    books_of,
    open_connection,
    open_run,
    phase,
    stop_watch,
)
from sparkify_bulk.settings import Schemas, Settings, schemas
from sparkify_bulk.stage import (
    DATA_TABLES,
    Staged,
    Target,
    make_staging,
    see_staging,
    stage_again,
    stage_batch,
    unsee_staging,
    use_schemas,
)
from sparkify_bulk.tables import NAMES, STAR

logger = logging.getLogger("sparkify_bulk")

# How many rejects are read again at a time.
_REPLAY_ROWS = 5000
_KEYED_FIRST = ("artists", "songs", "users")


def reload(settings: Settings, watch: Watch | None = None) -> Report:
    """Build the star anew from all files, and let it replace the old one at once.

    Raises:
        SparkifyBulkError: the run failed; the old star is untouched.
    """
    with open_run("reload", settings, watch or Unwatched()) as run:
        merge.check_dependents(run.control, run.schemas.star)
        target = _build_star(run)
        with phase(run, "switch"):
            _publish(run, target)
    return run.report


def verify(settings: Settings, watch: Watch | None = None) -> tuple[Report, list[Difference]]:
    """Read all files again, record by record, and compare what they say with the star.

    Nothing is published: the star built for the comparison is dropped.

    Raises:
        SparkifyBulkError: the run failed, or there is no star.
    """
    with open_run("verify", settings, watch or Unwatched()) as run:
        require_star(run.control, run.schemas.star)
        _build_star(run, slowly=True)
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
        require_star(run.control, run.schemas.star)
        target = run.target = _prepare_staging(run, {})
        with phase(run, "stage rejects"), run.control.transaction():
            settled = _stage_rejects(run, target, run_id, repaired)
        _merge_live(run, target)
        with phase(run, "commit"):
            _publish(run, target, settled)
    return run.report


def plan(settings: Settings) -> tuple[dict[Kind, Manifest], float | None]:
    """Say what a load would read, and how many seconds it would take at the last run's pace.

    Nothing is written, and no lock is taken.

    Raises:
        SparkifyBulkError: the folders or the database can't be read.
    """
    names = schemas(settings.schema)
    with open_connection(settings.dsn) as connection:
        grows = merge.star_exists(connection, names.star)
        known = partial(ledger.known_files, connection, names.ledger) if grows else None
        manifests = _list_kinds(settings, known)
        pace = ledger.last_pace(connection, names.ledger)
    size = sum(manifest.size for manifest in manifests.values())
    return manifests, size / pace if pace else None


def require_star(connection: Connection, star: str) -> None:
    """Refuse to go on where there is no star.

    Raises:
        SparkifyBulkError: there is none.
    """
    if not merge.star_exists(connection, star):
        raise SparkifyBulkError(
            f"there is no star in the schema {star}",
            hint="make one with sparkify-bulk reload DATA, or name another by --schema",
        )


def load(settings: Settings, watch: Watch | None = None) -> Report:
    """Merge new and changed files into the live star; make one if there is none.

    Raises:
        SparkifyBulkError: the run failed; the star is untouched.
    """
    with open_run("load", settings, watch or Unwatched()) as run:
        run.grows = merge.star_exists(run.control, run.schemas.star)
        manifests = _list_files(run)
        target = run.target = _prepare_staging(run, manifests)
        with _workers(run) as pool:
            _collect(run, "stage songs", manifests, _submit(pool, manifests, "songs", target))
            _collect(run, "stage events", manifests, _submit(pool, manifests, "events", target))
        _merge_live(run, target)
        with phase(run, "commit"):
            _publish(run, target)
    return run.report


# --- steps --------------------------------------------------------------------------------------


def _build_star(run: Run, *, slowly: bool = False) -> Target:
    """Build a star from all files beside the live one, keys and all."""
    manifests = _list_files(run)
    target = run.target = _prepare_staging(run, manifests, slowly=slowly)
    _begin_star(run)
    with _workers(run) as pool:
        songs = _submit(pool, manifests, "songs", target)
        events = _submit(pool, manifests, "events", target)
        _collect(run, "stage songs", manifests, songs)
        _merge_catalogue(run, target)
        _collect(run, "stage events", manifests, events)
        _fill_star(run, target, pool)
    _finish_star(run)
    return target


def _list_files(run: Run) -> dict[Kind, Manifest]:
    """List the files to read: all, or those that the star isn't made of yet."""
    known = partial(ledger.known_files, run.control, run.schemas.ledger) if run.grows else None
    with phase(run, "list files"):
        manifests = _list_kinds(run.settings, known)
    for manifest in manifests.values():
        books_of(run.report, manifest.kind).files_skipped = manifest.same
        _tell_vanished(manifest)
    return manifests


def _list_kinds(
    settings: Settings, known: Callable[[Kind], Iterator[Known]] | None
) -> dict[Kind, Manifest]:
    manifests: dict[Kind, Manifest] = {}
    for kind, folder in zip(KINDS, (settings.songs, settings.logs), strict=True):
        if folder:
            root = str(folder)
            manifests[kind] = make_manifest(
                kind,
                root,
                known=known(kind) if known else (),
                is_same=partial(_is_same, root) if settings.rehash else None,
                follow_links=settings.follow_links,
            )
    if not any(manifest.files + manifest.same for manifest in manifests.values()):
        roots = " or ".join(manifest.root for manifest in manifests.values())
        raise UsageError(
            f"no song or log files in {roots}",
            hint="files end in .json, .json.gz or .json.zst; hidden ones and links are left out",
        )
    return manifests


def _is_same(root: str, path: str, known: Known) -> bool:
    """Compare a file's content with what the ledger has; one that can't be read is read later."""
    try:
        return digest_file(root, path) == known.digest
    except UNREADABLE:
        return False


def _tell_vanished(manifest: Manifest) -> None:
    """Say which files are gone: what they held stays in the star until the next reload."""
    if manifest.vanished:
        logger.warning(
            "%d %s files have vanished since they were loaded, %s first; their records stay",
            len(manifest.vanished),
            manifest.kind,
            manifest.vanished[0],
        )


def _prepare_staging(run: Run, manifests: dict[Kind, Manifest], *, slowly: bool = False) -> Target:
    """Make a lane a worker, but no more lanes than there are batches."""
    batches = max((len(manifest.batches) for manifest in manifests.values()), default=1)
    lanes = max(1, min(run.settings.jobs, batches))
    target = Target(run.dsn, run.schemas.staging, run.run_id, lanes, slowly)
    merge.make_schema(run.control, run.schemas.staging)
    make_staging(run.control, target)
    return target


def _begin_star(run: Run) -> None:
    """Make the new star beside the old one, with keys where rows are merged, not filled in."""
    merge.make_schema(run.control, run.schemas.star)
    merge.make_schema(run.control, run.schemas.build)
    with run.control.transaction():
        use_schemas(run.control, run.schemas.build)
        merge.make_tables(run.control)
        merge.constrain(run.control, "keys", *_KEYED_FIRST)


@contextlib.contextmanager
def _workers(run: Run) -> Iterator[ThreadPoolExecutor]:
    """Run workers; whatever ends the run, none is left behind and none begins anew."""
    pool = ThreadPoolExecutor(run.settings.jobs, thread_name_prefix="worker")
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for connection in list(run.merging):
            connection.cancel_safe(timeout=5)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ThreadPoolExecutor, manifests: dict[Kind, Manifest], kind: Kind, target: Target
) -> Sequence[Future[Staged]]:
    batches: Sequence[Batch] = manifests[kind].batches if kind in manifests else ()
    return [pool.submit(stage_batch, batch, target) for batch in batches]


def _collect(
    run: Run, name: str, manifests: dict[Kind, Manifest], futures: Sequence[Future[Staged]]
) -> None:
    """Wait for batches, and enter what became of them in the run's books.

    Raises:
        RejectLimitError: more records were rejected than the settings allow.
    """
    kind: Kind = "songs" if name == "stage songs" else "events"
    manifest = manifests.get(kind)
    files, size = (manifest.files, manifest.size) if manifest else (0, 0)
    books = books_of(run.report, kind)
    run.watch.begin(name, files=files, bytes_=size)
    # Batches of one kind begin while those of the other are still under way, and while songs are
    # merged: the phase is timed by its own batches; so phases overlap, and their sum is no total.
    began, ended = math.inf, 0.0
    for future in as_completed(futures):
        staged = future.result()
        began, ended = min(began, staged.began), max(ended, staged.ended)
        for what in ("files", "bytes", "records", "accepted", "filtered", "rejected"):
            setattr(books, what, getattr(books, what) + getattr(staged, what))
        run.sent.update(staged.rows)
        _count_rejects(run, staged)
        run.watch.advance(files=staged.files, bytes_=staged.bytes, records=staged.records)
    run.watch.end(add_phase(run, name, max(0.0, ended - began), books))


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


def _merge_catalogue(run: Run, target: Target) -> None:
    """Merge artists and songs into the new star, while events are still being staged."""
    with phase(run, "merge songs"), run.control.transaction():
        _enter_star(run.control, run.schemas.build, run.schemas, target)
        merge.check_staged(run.control, {"staged_songs": run.sent["staged_songs"]})
        for name in ("artists", "songs"):
            run.report.tables[name] = merge.run_merge(run.control, name)
        run.control.execute("ANALYZE songs")
        unsee_staging(run.control)


def _fill_star(run: Run, target: Target, pool: ThreadPoolExecutor) -> None:
    """Fill the new star's other tables: songplays lane by lane, side by side."""
    sent = {name: run.sent[name] for name in (*DATA_TABLES, "staged_rejects", "staged_files")}
    with phase(run, "merge events"):
        lanes = [pool.submit(_fill_lane, run, target, lane) for lane in range(target.lanes)]
        with run.control.transaction():
            _enter_star(run.control, run.schemas.build, run.schemas, target)
            merge.check_staged(run.control, sent)
            run.report.tables["users"] = merge.run_merge(run.control, "users")
            moments = merge.fill(run.control, "time")
            run.report.tables["time"] = TableReport(inserted=moments)
            unsee_staging(run.control)
        wait(lanes, return_when=FIRST_EXCEPTION)
        filled = sum(lane.result() for lane in lanes)
    if filled != run.report.input.events.accepted:
        raise BooksError(
            f"{run.report.input.events.accepted} songplays were accepted, {filled} were merged"
        )


def _fill_lane(run: Run, target: Target, lane: int) -> int:
    with connect(run.dsn) as connection, connection.transaction():
        run.merging.add(connection)
        try:
            _enter_star(connection, run.schemas.build, run.schemas, target, range(lane, lane + 1))
            filled = merge.fill(connection, "songplays")
            unsee_staging(connection)
        finally:
            run.merging.discard(connection)
    return filled


def _finish_star(run: Run) -> None:
    """Remove duplicates, then build keys, references and indexes, and analyse."""
    names = [table.name for table in STAR]
    with run.control.transaction():
        use_schemas(run.control, run.schemas.build)
        merge.prepare(run.control)
        with phase(run, "remove duplicates"):
            duplicates = merge.fill(run.control, "duplicates")
        with phase(run, "build keys"):
            merge.constrain(run.control, "keys", "time", "songplays")
        with phase(run, "build indexes"):
            merge.constrain(run.control, "indexes", *names)
        with phase(run, "check references"):
            merge.constrain(run.control, "references", *names)
        with phase(run, "analyse"):
            for name in names:
                run.control.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))
            rows = merge.count_rows(run.control)
    _enter_rows(run, rows)
    tables = run.report.tables
    tables["songplays"].inserted = run.report.input.events.accepted - duplicates
    for name in NAMES:
        if tables[name].inserted != rows[name]:
            raise BooksError(
                f"{tables[name].inserted} rows were merged into {name}, but {rows[name]} are there"
            )


def _merge_live(run: Run, target: Target) -> None:
    """Merge everything staged into the live star, in the publisher's transaction."""
    star, connection = run.schemas.star, run.publisher
    with phase(run, "merge"):
        merge.make_schema(run.control, star)
        _enter_star(connection, star, run.schemas, target)
        if not run.grows:
            merge.make_tables(connection)
            for group in ("keys", "references", "indexes"):
                merge.constrain(connection, group, *NAMES)
        merge.check_staged(connection, dict(run.sent))
        before = (ledger.last_rows(connection) if run.grows else None) or merge.count_rows(
            connection
        )
        tables = run.report.tables
        tables["artists"] = merge.run_merge(connection, "artists")
        merge.note_credits(connection)
        tables["songs"] = merge.run_merge(connection, "songs")
        merge.note_credits(connection)
        for name in ("users", "time", "songplays"):
            tables[name] = merge.run_merge(connection, name)
        tables["songplays"].updated += merge.run_merge(connection, "claims").updated
        _enter_rows(run, {name: before[name] + tables[name].inserted for name in NAMES})


def _enter_star(
    connection: Connection,
    star: str,
    names: Schemas,
    target: Target,
    lanes: range | None = None,
) -> None:
    """Set a transaction up for merge statements: what they see, and how they run."""
    use_schemas(connection, star, names.ledger)
    merge.prepare(connection)
    see_staging(connection, target, lanes)


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
        if part.rejects or not part.records.total():
            books.records += 1
            books.rejected += 1
            run.report.rejects.add(part.rejects[0].reason if part.rejects else "malformed_json")
            continue
        books.records += part.records.total()
        books.filtered += part.filtered.total()
        books.accepted += part.frame.height
        names.append(reject.file)
        settled.append(reject.reject_id)
        parts.append(part)
    if parts:
        frame = concat_frames(parts)
        run.sent.update(stage_again(run.control, target, kind, frame, names))
    return settled


def _publish(run: Run, target: Target, settled: list[int] | None = None) -> None:
    """Commit at once: files, rejects and report in the ledger, and the new star or merged rows."""
    report = run.report
    for books, table in ((report.input.songs, "songs"), (report.input.events, "songplays")):
        books.inserted = report.tables[table].inserted
        books.duplicates = books.accepted - books.inserted
    report.status = "succeeded_with_rejects" if report.rejects.count else "succeeded"
    use_schemas(run.publisher, run.schemas.ledger)
    if settled is not None:
        ledger.settle_rejects(run.publisher, run.run_id, settled)
        unsee_staging(run.publisher)
    else:
        _keep_on_record(run, target)
    _complete(run, last=partial(_switch, run) if report.command == "reload" else None)
    if report.rejects.count:
        reasons = ", ".join(f"{n} {reason}" for reason, n in report.rejects.by_reason.items())
        logger.warning("%d records were rejected: %s", report.rejects.count, reasons)


def _keep_on_record(run: Run, target: Target) -> None:
    """Move files and rejects to the ledger, and compare the rejects kept with those counted."""
    if run.report.command == "reload":
        see_staging(run.publisher, target)
    ledger.keep_files(run.publisher, run.run_id, alone=not run.grows)
    kept = ledger.keep_rejects(run.publisher, run.run_id)
    unsee_staging(run.publisher)
    rejected = run.report.input.songs.rejected + run.report.input.events.rejected
    if not kept == rejected == run.report.rejects.count:
        raise BooksError(f"{rejected} records were rejected, {kept} are on record")


def _switch(run: Run) -> None:
    merge.switch(run.publisher, run.schemas.star, run.schemas.build)


def _complete(run: Run, last: Callable[[], None] | None = None) -> None:
    """Complete the run's record and commit; what readers wait for comes last."""
    stop_watch(run.report, run.begun)
    use_schemas(run.publisher, run.schemas.ledger)
    ledger.complete_run(run.publisher, run.run_id, run.report, exit_code=run.report.exit_code)
    if last:
        last()
    run.publisher.commit()
    run.published = True
