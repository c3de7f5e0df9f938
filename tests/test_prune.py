"""Old runs and their rejects leave the ledger; the star and its last run stay."""

import json
from datetime import timedelta

import pytest
from command import run
from trees import Tree, event, query, read_star

LEDGER = "sparkify_ledger"


@pytest.fixture
def grown(database: str, tree: Tree) -> str:
    """Load three nights with a reject each, two of them long ago, and one without anything new."""
    for night in range(1, 4):
        tree.logs(f"{night}.json", event(night), b"{broken")
        assert run("load", str(tree.root), "--dsn", database, "--quiet").returncode == 3
    assert run("load", str(tree.root), "--dsn", database, "--quiet").returncode == 0
    age(database, 1, timedelta(days=100))
    age(database, 2, timedelta(days=50))
    return database


def age(database: str, run_id: int, by: timedelta) -> None:
    """Let a run have begun so much earlier."""
    statement = f"UPDATE {LEDGER}.runs SET started_at = started_at - %s WHERE run_id = %s"
    query(database, statement, (by, run_id))
    # The star names its run by number and time.
    star = "UPDATE sparkify.last_load SET loaded_at = loaded_at - %s WHERE loaded_by_run = %s"
    query(database, star, (by, run_id))


def left(database: str) -> tuple[list[int], list[int]]:
    """Return the runs on record, and the runs that the rejects on record are of."""
    runs = query(database, f"SELECT run_id FROM {LEDGER}.runs ORDER BY 1")
    rejects = query(database, f"SELECT run_id FROM {LEDGER}.rejects ORDER BY 1")
    return [row[0] for row in runs], [row[0] for row in rejects]


def test_what_is_older_goes_with_its_rejects(grown: str) -> None:
    """Runs that began before the age asked for are deleted, the rest stays; so does the star."""
    star = read_star(grown)
    done = run("prune", "--older-than", "90d", "--dsn", grown)
    assert done.stdout == "Deleted 1 run and 1 rejected record.\n"
    assert left(grown) == ([2, 3, 4], [2, 3])
    assert read_star(grown) == star


def test_a_dry_run_deletes_nothing(grown: str) -> None:
    """It only says how many there are."""
    before = left(grown)
    done = run("prune", "--older-than", "10d", "--dsn", grown, "--dry-run", "--json")
    assert json.loads(done.stdout) == {"runs": 2, "rejects": 2, "dry_run": True}
    assert left(grown) == before


def test_the_last_success_stays_however_old(grown: str, tree: Tree) -> None:
    """The next load still knows the rows of the star, and the files it is made of."""
    for run_id in (1, 2, 3, 4):
        age(grown, run_id, timedelta(days=500))
    assert run("prune", "--older-than", "1d", "--dsn", grown).returncode == 0
    assert left(grown) == ([4], [])
    report = json.loads(run("load", str(tree.root), "--dsn", grown, "--json").stdout)
    assert report["tables"]["songplays"] == {"inserted": 0, "updated": 0, "rows": 3}
    assert report["input"]["events"]["files_skipped"] == 3


def test_rejects_resolved_by_an_old_replay_go_too(grown: str) -> None:
    """A run that resolved rejects can be deleted with those."""
    query(grown, f"UPDATE {LEDGER}.rejects SET settled_by = 2 WHERE run_id = 1")
    assert run("prune", "--older-than", "10d", "--dsn", grown).returncode == 0
    assert left(grown) == ([3, 4], [3])


@pytest.mark.every(4)
@pytest.mark.parametrize("ahead", [1, 2, 3, 4])
def test_a_clock_that_jumped_neither_ends_a_prune_nor_costs_the_last_success(
    grown: str, tree: Tree, ahead: int
) -> None:
    """A run from the future stays, with the runs that resolved what stays; the others go."""
    query(grown, f"UPDATE {LEDGER}.rejects SET settled_by = run_id + 1")
    for run_id in (1, 2, 3, 4):
        age(grown, run_id, timedelta(days=500))
    age(grown, ahead, timedelta(days=-90_000))
    assert run("prune", "--older-than", "1d", "--dsn", grown).returncode == 0
    assert left(grown)[0] == list(range(ahead, 5))
    report = json.loads(run("load", str(tree.root), "--dsn", grown, "--json").stdout)
    assert report["tables"]["songplays"] == {"inserted": 0, "updated": 0, "rows": 3}


def test_an_empty_ledger_has_nothing_to_prune(database: str) -> None:
    """Without a star, or a ledger, nothing is deleted and nothing fails."""
    done = run("prune", "--older-than", "90d", "--dsn", database)
    assert done.stdout == "Deleted 0 runs and 0 rejected records.\n", done.stderr
