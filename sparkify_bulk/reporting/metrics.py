"""What a run did, as a file of metrics for the textfile collector of Prometheus' node exporter."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from prometheus_client.parser import text_string_to_metric_families

from sparkify_bulk.report import Inputs, Report

logger = logging.getLogger("sparkify_bulk")

# Values of a metric's labels, and its value.
_Samples = Sequence[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric, a gauge.

    Attributes:
        name: its name, without the prefix.
        help: what it holds.
        labels: those beside `schema`, where the star lives.
        lasts: after a failed run it stays as the last success had it.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    lasts: bool = False


PREFIX = "sparkify_bulk_"
DECLARED = (
    Declared("star_info", "1; the server and database that the star is in", ("target",)),
    Declared("last_success_timestamp_seconds", "when the last success ended", lasts=True),
    Declared("newest_event_timestamp_seconds", "when the newest songplay began", lasts=True),
    Declared("table_rows", "rows of each table of the star", ("table",), lasts=True),
    Declared("last_run_timestamp_seconds", "when the last run ended"),
    Declared("last_run_exit_code", "its exit code", ("command",)),
    Declared("last_run_duration_seconds", "how long it took"),
    Declared("last_run_peak_rss_bytes", "the most memory it used"),
    Declared("last_run_files", "files it read, and skipped as known", ("input", "fate")),
    Declared("last_run_bytes", "bytes of the files it read, on disk", ("input",)),
    Declared("last_run_records", "records it read, by what became of them", ("input", "fate")),
    Declared("last_run_rejects", "records it rejected, by reason", ("reason",)),
)


def write(path: Path, report: Report, exit_code: int, schema: str, target: str = "") -> None:
    """Write the metrics of a run.

    The file is replaced in one rename: who reads it finds the old one or the new one, whole. What
    it holds of stars in other schemas stays; of one in another database nothing is taken over.

    Args:
        path: the file.
        report: what the run did.
        exit_code: the command's.
        schema: where the star lives.
        target: the server and database it is in, without any password.

    Raises:
        OSError: it can't be written.
    """
    found = _read(path)
    samples: dict[str, _Samples] = {
        "star_info": [((target,), 1)],
        **_lasting(found.get(schema, {}), target),
        **_of_run(report, exit_code),
    }
    if report.status != "failed":
        samples |= _of_success(report)
    stars = {**found, schema: samples}
    registry = CollectorRegistry()
    for metric in DECLARED:
        labels = ("schema", *metric.labels)
        gauge = Gauge(PREFIX + metric.name, metric.help, labels, registry=registry)
        for star, of_star in stars.items():
            for values, value in of_star.get(metric.name, ()):
                gauge.labels(star, *values).set(value)
    write_to_textfile(str(path), registry)


def _of_run(report: Report, exit_code: int) -> dict[str, _Samples]:
    """Return what can be said of every run, in order of the declarations."""
    kinds = {"songs": report.input.songs, "events": report.input.events}
    return {
        "last_run_timestamp_seconds": [((), _ended(report))],
        "last_run_exit_code": [((report.command,), exit_code)],
        "last_run_duration_seconds": [((), report.seconds)],
        "last_run_peak_rss_bytes": [((), report.peak_rss_bytes)],
        "last_run_files": [
            *(((kind, "read"), counts.files) for kind, counts in kinds.items()),
            *(((kind, "skipped"), counts.files_skipped) for kind, counts in kinds.items()),
        ],
        "last_run_bytes": [((kind,), counts.bytes) for kind, counts in kinds.items()],
        "last_run_records": _fates(report.input),
        "last_run_rejects": [((reason,), n) for reason, n in report.rejects.by_reason.items()],
    }


def _fates(inputs: Inputs) -> _Samples:
    """Return the records by what became of them; together they are all that were read."""
    return [
        ((kind, fate), getattr(counts, fate))
        for kind, counts in (("songs", inputs.songs), ("events", inputs.events))
        for fate in ("inserted", "duplicates", "filtered", "rejected")
    ]


def _of_success(report: Report) -> dict[str, _Samples]:
    newest = report.newest_event
    return {
        "last_success_timestamp_seconds": [((), _ended(report))],
        "newest_event_timestamp_seconds": [((), newest.timestamp())] if newest else [],
        "table_rows": [((name,), table.rows) for name, table in report.tables.items()],
    }


def _ended(report: Report) -> float:
    return (report.started_at + timedelta(seconds=report.seconds)).timestamp()


def _lasting(found: Mapping[str, _Samples], target: str) -> dict[str, _Samples]:
    """Return what lasts of a star's metrics, if it is the same star."""
    before = [values for values, _ in found.get("star_info", ())]
    if before not in ([], [(target,)]):
        return {}
    return {m.name: found[m.name] for m in DECLARED if m.lasts and m.name in found}


def _read(path: Path) -> dict[str, dict[str, _Samples]]:
    """Return the metrics that the file holds now, by the star's schema and by name."""
    try:
        families = list(text_string_to_metric_families(path.read_text()))
    except FileNotFoundError:
        return {}
    # A file that isn't ours, or was damaged, is replaced.
    except (OSError, ValueError) as error:
        logger.warning("%s held no metrics: %s", path, error)
        return {}
    declared = {PREFIX + metric.name: metric for metric in DECLARED}
    stars: dict[str, dict[str, list[tuple[tuple[str, ...], float]]]] = {}
    for family in families:
        for sample in family.samples if family.name in declared else ():
            metric = declared[family.name]
            values = tuple(sample.labels.get(label, "") for label in metric.labels)
            of_star = stars.setdefault(sample.labels.get("schema", ""), {})
            of_star.setdefault(metric.name, []).append((values, sample.value))
    return {star: dict(of_star) for star, of_star in stars.items()}
