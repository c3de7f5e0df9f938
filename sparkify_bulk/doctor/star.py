"""Checks of the star, and of the runs that made it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sparkify_bulk import ledger
from sparkify_bulk.database.transaction import use_schemas
from sparkify_bulk.doctor.findings import Finding, NotAskedError, Subject, has_table, rows, some
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.loading import marks, merge, state, switch
from sparkify_bulk.run import lock_name
from sparkify_bulk.units import readable_size, span


def star(subject: Subject) -> Finding:
    """The schema holds a star of this version, or none yet."""
    name = subject.schemas.star
    if state.star_exists(subject.server, name):
        return Finding("ok", f"the schema {name} holds one")
    return Finding("ok", f"the schema {name} holds none yet")


def record(subject: Subject) -> Finding:
    """The star was last changed by the ledger's last run, and has as many rows as then."""
    names = subject.schemas
    try:
        if not state.star_exists(subject.server, names.star):
            return Finding("ok", "no star yet")
    except SparkifyBulkError as error:
        raise NotAskedError("there is no usable star") from error
    last = state.require_same_run(subject.server, names)
    use_schemas(subject.server, "pg_catalog")
    rows = state.count_rows(subject.server, names.star, last)
    if changed := state.changed_by_hand(rows, last):
        hint = "sparkify-bulk verify DATA names the rows; reload DATA makes the star anew"
        return Finding("warning", f"changed by hand after run {last.run_id}: {changed}", hint)
    return Finding("ok", f"star and ledger agree: run {last.run_id}, {rows['songplays']:,} plays")


def neighbours(subject: Subject) -> Finding:
    """The ledger, staging and build schemas hold only what runs made; else a run would fail."""
    marks.refuse_foreign(subject.server, subject.schemas)
    return Finding("ok", "the ledger, staging and build schemas hold only the program's tables")


def dependents(subject: Subject) -> Finding:
    """All that depends on the star can be carried over to the new tables of a reload."""
    stuck = switch.refusals(subject.server, (switch.Swap(subject.schemas.star, ""),))
    if stuck:
        hint = "drop them, or use reload --drop-dependents; load is not affected"
        return Finding("warning", f"these objects stop a reload: {some(stuck)}", hint)
    return Finding("ok", "no dependent object stops a reload")


def lock(subject: Subject) -> Finding:
    """Whether a run holds the star's lock now, and which."""
    if not _is_held(subject):
        return Finding("ok", "no run holds the star")
    who = ledger.holder(subject.server, subject.schemas.ledger)
    hint = "run again when it has ended, or use --wait SECONDS"
    return Finding("warning", f"held by {who}", hint)


def _is_held(subject: Subject) -> bool:
    use_schemas(subject.server, "pg_catalog")
    return bool(rows(subject, "holder", lock=lock_name(subject.schemas.star)))


def leftovers(subject: Subject) -> Finding:
    """What killed runs left behind: runs recorded as running, staging and build tables."""
    left = _left(subject)
    if not left or _is_held(subject):
        return Finding("ok", "none")
    # One that began or ended in between has left nothing.
    still = _left(subject)
    found = [what for key, what in left.items() if key in still]
    if not found:
        return Finding("ok", "none")
    hint = "no action needed: the next run removes the tables and records these runs as ended"
    return Finding("warning", some(found), hint)


def _left(subject: Subject) -> dict[Any, str]:
    """Return runs on record as running and tables of runs, each with its name for people."""
    names = subject.schemas
    use_schemas(subject.server, "pg_catalog")
    tables = marks.leftovers(subject.server, names)
    left: dict[Any, str] = {}
    if has_table(subject, names.ledger, "runs"):
        left.update({run_id: f"run {run_id}" for (run_id,) in rows(subject, "running")})
    for schema, table, size in tables:
        left[schema, table] = f"{schema}.{table} ({readable_size(size)})"
    return left


def last_run(subject: Subject) -> Finding:
    """How the last run ended, and when."""
    name = subject.schemas.ledger
    if not has_table(subject, name, "runs"):
        return Finding("ok", "no run yet")
    ended = [run for run in ledger.list_runs(subject.server, name, 20) if run["ended_at"]]
    if not ended:
        return Finding("ok", "none has ended yet")
    run = ended[0]
    ago = span((datetime.now(UTC) - run["ended_at"]).total_seconds())
    found = f"run {run['run_id']} ({run['command']}) {run['status'].replace('_', ' ')} {ago} ago"
    if run["status"] == "succeeded":
        return Finding("ok", found)
    if run["status"] == "failed":
        return Finding("warning", f"{found}: {run['error']}", "see sparkify-bulk runs")
    return Finding("warning", found, f"see sparkify-bulk rejects --run {run['run_id']}")


def newest_event(subject: Subject) -> Finding:
    """How old the newest event in the star is; a failure if it is older than --max-age."""
    limit = subject.max_age
    hint = "see whether logs still arrive, and how loads ended: sparkify-bulk runs"
    too_old = Finding("failure", "the star holds no event", hint)
    there = has_table(subject, subject.schemas.star, "songplays")
    newest = merge.newest_event(subject.server) if there else None
    if newest is None:
        return Finding("ok", too_old.found) if limit is None else too_old
    age = datetime.now(UTC) - newest
    found = f"{newest:%Y-%m-%d %H:%M} UTC, {span(age.total_seconds())} ago"
    if limit is not None and age > limit:
        return replace(too_old, found=f"{found}: over {span(limit.total_seconds())}")
    return Finding("ok", found)
