"""The page's first words: whether all is well."""

import statistics
from dataclasses import dataclass, field

from sparkify_bulk.reporting.facts import Facts
from sparkify_bulk.reporting.parts import STATUS_WORDS, SUCCESSES, have, total, were
from sparkify_bulk.reporting.star_part import gaps
from sparkify_bulk.units import count, duration, share

# A load that takes this many times the median of those before is worth a word; seconds more, too.
_SLOW_RATIO, _SLOW_SECONDS, _ENOUGH_RUNS = 2.0, 5.0, 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well: `level` is good, warn, bad or running; notes follow by weight."""

    level: str
    title: str
    text: str
    notes: list[str] = field(default_factory=list)


def verdict(found: Facts) -> Verdict:
    """Return whether all is well with a run, and what else to look at."""
    run, report = found.run, found.run["report"] or {}
    notes = [*_run_notes(found), *_star_notes(found)]
    took = f" in {duration(report['seconds'])}" if report else ""
    name = f"Run {run['run_id']} ({run['command']})"
    if run["status"] == "running":
        return Verdict("running", "The run is under way", f"{name} has not ended yet.", notes)
    if run["status"] not in SUCCESSES:
        return Verdict(
            "bad", "The run failed", f"{name} ended{took}; it changed nothing in the star.", notes
        )
    added = report.get("tables", {}).get("songplays", {}).get("inserted", 0)
    text = f"{name} ended{took} and added {added:,} plays."
    if report.get("stale"):
        newest = report["newest_event"]
        words = (
            f"The newest is of {newest[:16].replace('T', ' ')} UTC." if newest else "It has none."
        )
        title = "Loaded, but the star has no recent event"
        return Verdict("warn", title, f"{text} {words}", notes)
    if run["status"] == "succeeded":
        return Verdict("good", "All is well", text, notes)
    rejected = report.get("rejects", {}).get("count", 0)
    read = total(report, "records")
    title = f"Loaded, but {count(rejected, 'record')} {were(rejected)} rejected"
    return Verdict("warn", title, f"{text} {share(rejected, read)} of the records were refused; "
                   "they are kept, and listed below.", notes)  # fmt: skip


def _run_notes(found: Facts) -> list[str]:
    run, report = found.run, found.run["report"] or {}
    notes = []
    if run["status"] in SUCCESSES and not total(report, "files"):
        notes.append("It read nothing: there was no new or changed file.")
    if usual := usual_seconds(found):
        ratio = report["seconds"] / usual
        if ratio >= _SLOW_RATIO and report["seconds"] - usual >= _SLOW_SECONDS:
            notes.append(
                f"It took {ratio:.1f} times as long as the median of the runs of "
                f"{run['command']} before it, {duration(usual)}."
            )
    later = [other for other in found.history if other["run_id"] > run["run_id"]]
    if later:
        last = later[0]
        words = STATUS_WORDS.get(last["status"], last["status"])
        notes.append(
            f"It is not the latest: run {last['run_id']} ({last['command']}, {words}) came later."
        )
    return notes


def _star_notes(found: Facts) -> list[str]:
    if found.star is None:
        return [f"There is no star in the schema {found.schema}."]
    if not found.star.days:
        return ["The star holds no plays."]
    days = sum(gap.days for gap in gaps(found.star))
    if days:
        return [f"{count(days, 'day')} between the first play and the last {have(days)} none."]
    return []


def usual_seconds(found: Facts) -> float | None:
    """Return the median time of the runs like this one before it; None where they are few."""
    if not found.run["report"]:
        return None
    before = [
        run["report"]["seconds"]
        for run in found.history
        if run["run_id"] < found.run["run_id"]
        and run["command"] == found.run["command"]
        and run["status"] in SUCCESSES
        and run["report"]
    ]
    return statistics.median(before) if len(before) >= _ENOUGH_RUNS else None
