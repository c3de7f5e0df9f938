"""Metrics of a run, as Prometheus reads them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sparkify_bulk.report import Report
from sparkify_bulk.reporting import metrics

BEGAN = datetime(2026, 1, 2, 3, 30, tzinfo=UTC)


def read(path: Path) -> dict[tuple[str, ...], float]:
    """Return what the official parser finds: values by name, without prefix, and sorted labels."""
    return {
        (sample.name.removeprefix("sparkify_bulk_"), *dict(sorted(sample.labels.items())).values()):
        sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }  # fmt: skip


def success() -> Report:
    """Return the report of a run with two songplays and a reject."""
    report = Report("load", BEGAN, run_id=1, status="succeeded_with_rejects", seconds=90.0)
    report.newest_event = datetime(2026, 1, 1, 23, tzinfo=UTC)
    report.tables["songplays"].rows = 12
    books = report.input.events
    books.files, books.files_skipped, books.bytes = 1, 7, 900
    books.records, books.accepted, books.inserted = 5, 3, 2
    books.duplicates, books.filtered, books.rejected = 1, 1, 1
    report.rejects.add("missing_value")
    return report


def test_the_official_parser_reads_what_a_run_did(tmp_path: Path) -> None:
    """Each figure of a run stands under its name and labels, in seconds and bytes."""
    path = tmp_path / "star.prom"
    metrics.write(path, success(), 3, "music")
    found = read(path)
    assert found["last_success_timestamp_seconds", "music"] == BEGAN.timestamp() + 90
    assert found["newest_event_timestamp_seconds", "music"] == BEGAN.timestamp() - 4.5 * 3600
    assert found["last_run_exit_code", "load", "music"] == 3
    assert found["last_run_duration_seconds", "music"] == 90
    assert found["last_run_files", "read", "events", "music"] == 1
    assert found["last_run_files", "skipped", "events", "music"] == 7
    assert found["last_run_bytes", "events", "music"] == 900
    assert found["last_run_rejects", "missing_value", "music"] == 1
    assert found["table_rows", "music", "songplays"] == 12


def test_fates_add_up_to_the_records_read(tmp_path: Path) -> None:
    """Records by fate are all records, each once."""
    metrics.write(tmp_path / "star.prom", success(), 3, "music")
    found = read(tmp_path / "star.prom")
    fates = [key for key in found if key[0] == "last_run_records" and key[2] == "events"]
    assert sum(found[key] for key in fates) == 5


def test_a_failed_run_leaves_what_the_last_success_told(tmp_path: Path) -> None:
    """After a failure, the last success, the newest event and the rows stand as they were."""
    path = tmp_path / "star.prom"
    metrics.write(path, success(), 3, "music")
    before = read(path)
    metrics.write(path, Report("load", BEGAN, error="no server"), 4, "music")
    after = read(path)
    lasting = ("last_success_timestamp_seconds", "newest_event_timestamp_seconds", "table_rows")
    kept = {key: value for key, value in before.items() if key[0] in lasting}
    assert len(kept) == 7
    assert kept.items() <= after.items()
    assert after["last_run_exit_code", "load", "music"] == 4
    assert after["last_run_duration_seconds", "music"] == 0


def test_stars_in_one_file_keep_their_own(tmp_path: Path) -> None:
    """A star that has never been loaded doesn't inherit another's success, nor takes it away."""
    path = tmp_path / "star.prom"
    metrics.write(path, success(), 3, "music", "me@one/db")
    before = read(path)
    metrics.write(path, Report("load", BEGAN, error="no server"), 4, "other", "me@one/db")
    after = read(path)
    assert before.items() <= after.items()
    assert after["last_run_exit_code", "load", "other"] == 4
    assert ("last_success_timestamp_seconds", "other") not in after
    assert ("table_rows", "other", "songplays") not in after


def test_a_star_of_the_same_name_elsewhere_inherits_nothing(tmp_path: Path) -> None:
    """Its database is another: what the file holds is replaced."""
    path = tmp_path / "star.prom"
    metrics.write(path, success(), 3, "music", "me@one/db")
    metrics.write(path, Report("load", BEGAN, error="no server"), 4, "music", "me@two/db")
    after = read(path)
    assert after["star_info", "music", "me@two/db"] == 1
    assert ("last_success_timestamp_seconds", "music") not in after


@pytest.mark.parametrize("content", ["no metrics {", "other_metric 1\n", ""])
def test_a_file_of_another_kind_is_replaced(tmp_path: Path, content: str) -> None:
    """What can't be read, or isn't of this program, doesn't keep metrics from being written."""
    path = tmp_path / "star.prom"
    path.write_text(content)
    metrics.write(path, Report("load", BEGAN, error="no server"), 4, "music")
    assert read(path)["last_run_exit_code", "load", "music"] == 4
    assert "other_metric" not in path.read_text()


def test_the_file_is_replaced_in_one_rename(tmp_path: Path) -> None:
    """Who has the old file open keeps it whole, and nothing else is left in the folder."""
    path = tmp_path / "star.prom"
    metrics.write(path, success(), 3, "music")
    before = path.read_text()
    with path.open() as reader:
        metrics.write(path, Report("load", BEGAN), 1, "music")
        assert reader.read() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["star.prom"]
