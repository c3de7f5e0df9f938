"""Buckets: what is read of them is what a folder with the same files gives, whatever they do."""

import gzip
import itertools
import json
import random
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import KEYS, Bucket, Container
from command import COMMAND, run
from damage import DAMAGES, LAYOUTS, damaged
from hard_inputs import CASES
from sizes import share
from trees import Star, Tree, event, lines, query, read_star, slow_star, song
from waiting import PATIENCE_SECONDS

import sparkify_bulk
from sparkify_bulk.bench.comparison import on_disk
from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.source import bucket as bucket_module
from sparkify_bulk.source import bucket_access, reading
from sparkify_bulk.source.bucket_access import BucketError
from sparkify_bulk.source.listing import Entry, LeftOut
from sparkify_bulk.source.stores import open_store

REJECTS = """
    SELECT file, line, "offset", "column", reason, detail, raw
    FROM sparkify_ledger.rejects ORDER BY file, "offset", detail
"""


def star_of(dsn: str, data: str | Path, **options: Any) -> tuple[Star, list[Any]]:
    """Reload; return the star and all rejects."""
    sparkify_bulk.reload(data, dsn=dsn, jobs=2, **options)
    star, rejects = read_star(dsn), query(dsn, REJECTS)
    query(dsn, "DROP SCHEMA sparkify, sparkify_ledger CASCADE")
    return star, rejects


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon on a service that doesn't answer."""
    monkeypatch.setattr(bucket_access, "_RETRIES", 2)
    monkeypatch.setattr(bucket_access, "_FIRST_RETRIES", 1)
    monkeypatch.setattr(bucket_access, "_READ_TIMEOUT", "1s")


@pytest.fixture
def small(tree: Tree, bucket: Bucket) -> Tree:
    """Fill the bucket with a few songs and logs, as a tree has them."""
    for number in range(1, 6):
        tree.songs(f"A/{number}.json", song(number))
        tree.logs(f"2018/{number}.json", *(event(10 * number + item) for item in range(5)))
    bucket.fill(tree.root)
    return tree


# --- the same as from a folder -------------------------------------------------------------------


def test_the_sample_in_a_bucket_is_the_star_of_the_sample(
    database: str, sample: Path, bucket: Bucket
) -> None:
    """The real sample gives the same star from a bucket as from disk."""
    bucket.fill(sample, "deep/sparkify/")
    from_bucket = star_of(database, f"{bucket.url}/deep/sparkify/")
    assert from_bucket == star_of(database, sample)
    assert len(from_bucket[0]["songplays"]) == 6820


def test_hard_inputs_in_a_bucket_are_what_they_are_on_disk(
    database: str, tmp_path: Path, bucket: Bucket
) -> None:
    """Packed, damaged, torn and foreign files: the same rows and rejects as from disk."""
    tree = Tree(tmp_path / "data")
    for number, case in enumerate(CASES.values()):
        for path, data in case.files.items():
            if isinstance(path, str) and path.isprintable():
                kind, _, rest = path.partition("/")
                target = tree.root / kind / str(number) / rest
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    bucket.fill(tree.root)
    from_bucket = star_of(database, bucket.url)
    assert from_bucket == star_of(database, tree.root)
    assert len(from_bucket[1]) > 90


@pytest.mark.parametrize("in_ranges", [False, True])
def test_damage_in_any_layout_costs_what_it_costs_on_disk(
    database: str, tree: Tree, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, in_ranges: bool
) -> None:
    """Every damage in every layout, read whole or by ranges: the same rows and rejects."""
    if in_ranges:
        monkeypatch.setattr("sparkify_bulk.source.batches.BATCH_BYTES", 500)
        monkeypatch.setattr(reading, "CHUNK_BYTES", 400)
    chance = random.Random(in_ranges)
    layouts = chance.sample(list(LAYOUTS), 3 if in_ranges else share(len(LAYOUTS)))
    for number, (layout, damage) in enumerate(itertools.product(layouts, DAMAGES)):
        records = [event(100 * number + item, song=f"Zoë {item}") for item in range(8)]
        data = damaged(records, chance.randrange(8), layout, damage, chance)
        tree.logs(f"{number:04}.json").write_bytes(data)
    tree.songs("a.json", song())
    bucket.fill(tree.root)
    star, rejects = star_of(database, bucket.url)
    expected, rejects_on_disk = star_of(database, tree.root)
    assert star == expected
    assert _without_details(rejects) == _without_details(rejects_on_disk)
    assert rejects


def _without_details(rejects: list[Any]) -> list[Any]:
    """Leave out the words for what is wrong: the text after the record has a say in them."""
    return [(*place, raw) for *place, _, raw in rejects]


@pytest.mark.full
def test_ten_thousand_small_objects(database: str, tree: Tree, bucket: Bucket) -> None:
    """All are loaded, each by one request."""
    for number in range(10_000):
        tree.songs(f"{number % 26}/{number}.json", song(number))
    bucket.fill(tree.root)
    bucket.service.requests.clear()
    report = sparkify_bulk.reload(songs=f"{bucket.url}/song_data", dsn=database)
    assert report.tables["songs"].rows == 10_000
    assert len(bucket.service.objects()) == 10_000


def test_large_objects_are_read_by_ranges_that_end_where_records_do(
    database: str, tree: Tree, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects larger than a batch, plain and packed, give the rows and rejects that files do."""
    monkeypatch.setattr("sparkify_bulk.source.batches.BATCH_BYTES", 3000)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 2000)
    monkeypatch.setattr(bucket_module, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(bucket_module, "_RANGE_BYTES", 500)
    events = [event(number) if number % 9 else b'{"ts": broken}' for number in range(1, 200)]
    tree.songs("a.json", *map(song, range(1, 100)))
    tree.logs("plain.json", *events)
    tree.logs("packed.json.gz").write_bytes(
        gzip.compress(lines(*(event(n) for n in range(300, 500))))
    )
    bucket.fill(tree.root)
    assert star_of(database, bucket.url) == star_of(database, tree.root)
    ranges = [headers.get("range") for _, path, headers in bucket.service.requests]
    assert len(set(ranges)) > 20


def test_a_day_at_a_time_from_a_bucket_is_one_reload_from_disk(
    database: str, tree: Tree, bucket: Bucket
) -> None:
    """Loads of a bucket that fills up, and in which objects are replaced, end in the same star."""
    tree.songs("a.json", song(1))
    tree.logs("1.json", event(1))
    bucket.fill(tree.root)
    sparkify_bulk.reload(bucket.url, dsn=database)
    for day in range(2, 6):
        tree.logs(f"{day}.json", *(event(10 * day + item, userId=str(item)) for item in range(4)))
        tree.songs("a.json", *map(song, range(1, day + 1)))
        bucket.fill(tree.root)
        report = sparkify_bulk.load(bucket.url, dsn=database)
        assert (report.input.events.files, report.input.songs.files) == (1, 1)
    assert read_star(database) == slow_star(database, tree.root)


def test_what_is_unchanged_is_not_read(database: str, small: Tree, bucket: Bucket) -> None:
    """The ETag tells: what has the same content written anew isn't read, what has another is."""
    sparkify_bulk.reload(bucket.url, dsn=database)
    bucket.put("log_data/2018/1.json", (small.log_folder / "2018/1.json").read_bytes())
    bucket.service.requests.clear()
    report = sparkify_bulk.load(bucket.url, dsn=database)
    assert report.input.events.files_skipped == 5
    assert bucket.service.objects() == []
    # As long as before.
    data = (small.log_folder / "2018/1.json").read_bytes().replace(b"Leiden", b"Utrech")
    bucket.put("log_data/2018/1.json", data)
    report = sparkify_bulk.load(bucket.url, dsn=database)
    assert report.input.events.files == 1


def test_a_tree_that_moves_to_a_bucket_doubles_nothing(
    database: str, small: Tree, bucket: Bucket
) -> None:
    """A load reads all of it once more, and every play is a duplicate."""
    sparkify_bulk.reload(small.root, dsn=database)
    before = read_star(database)
    report = sparkify_bulk.load(bucket.url, dsn=database)
    assert (report.input.events.inserted, report.input.events.duplicates) == (0, 25)
    assert read_star(database) == before
    report = sparkify_bulk.load(bucket.url, dsn=database)
    assert report.input.events.files_skipped == 5


def test_mixed_sources_make_one_star(database: str, small: Tree, bucket: Bucket) -> None:
    """Songs may come from a bucket and logs from a folder named by a URL."""
    logs = small.log_folder.rename(small.root / "log data")
    sparkify_bulk.reload(
        songs=f"{bucket.url}/song_data", logs=f"file://{small.root}/log%20data", dsn=database
    )
    mixed = read_star(database)
    sparkify_bulk.reload(songs=small.song_folder, logs=logs, dsn=database)
    assert mixed == read_star(database)


@pytest.mark.every(2)
@pytest.mark.parametrize(
    "command",
    [["plan"], ["verify"], ["doctor"], ["load"], ["reload"], ["rejects", "replay"]],
    ids=" ".join,
)
def test_every_command_that_reads_input_reads_buckets(
    database: str, small: Tree, bucket: Bucket, command: list[str]
) -> None:
    """Each ends well with a bucket as DATA."""
    del small
    bucket.put("log_data/bad.json", b'{"page": "NextSong"}\n')
    sparkify_bulk.reload(bucket.url, dsn=database)
    data = [] if command[0] == "rejects" else [bucket.url]
    done = run(*command, *data, "--dsn", database)
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr


def test_a_container_of_azure_is_read_as_a_folder_is(
    database: str, tree: Tree, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed, read whole and by ranges, and known again by ETags that listings don't quote."""
    monkeypatch.setattr(bucket_module, "_WHOLE_BYTES", 5000)
    for number in range(1, 6):
        tree.songs(f"A/{number}.json", song(number))
        tree.logs(f"2018/{number}.json", *(event(10 * number + item) for item in range(5)))
    tree.logs("large.json", *(event(item) for item in range(100, 200)))
    tree.logs("packed.json.gz").write_bytes(gzip.compress(lines(*map(event, range(200, 300)))))
    tree.logs("empty.json")
    container.fill(tree.root)
    assert star_of(database, container.url) == star_of(database, tree.root)
    sparkify_bulk.reload(container.url, dsn=database)
    again = sparkify_bulk.load(container.url, dsn=database)
    assert (again.input.songs.files_skipped, again.input.events.files_skipped) == (5, 8)
    container.put("log_data/2018/1.json", lines(event(11, location="Delft")))
    assert sparkify_bulk.load(container.url, dsn=database).input.events.files == 1
    with pytest.raises(BucketError, match="there is no such container"):
        sparkify_bulk.reload("az://nobody-has-it/a", dsn=database)


def test_the_benchmark_copies_a_bucket_first(small: Tree, bucket: Bucket) -> None:
    """The contenders read folders only, and the network is no part of what is compared."""
    with on_disk(bucket.url) as copy:
        files = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*.json")}
    assert files == {
        path.relative_to(small.root): path.read_bytes() for path in small.root.rglob("*.json")
    }
    assert not copy.exists()
    with on_disk(small.root) as same:
        assert same == small.root


# --- listing --------------------------------------------------------------------------------------


def listed(address: str | Path) -> tuple[list[str], LeftOut]:
    """Return the paths of all input, and what is left out."""
    left_out = LeftOut()
    return [
        entry.path for some in open_store(address).list_files(left_out) for entry in some
    ], left_out


def test_a_bucket_is_listed_as_a_folder_is(
    tree: Tree, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden folders and files, endings and the order of names: all as on disk."""
    monkeypatch.setattr(bucket_module, "_PAGE", 3)
    names = [
        "a.json", "a/b.JSON", "a-b.json.gz", "a.b/c.ndjson.zst", "ä.json", "😀.json", "_x.json",
        ".hidden.json", ".git/a.json", "a/.b/c/d.json", "a/.b/e.json", "_tmp/a.json", "a/_y/b.json",
        "a/notes", "notes.txt", "a%20b.json", "100%.json", "a b.json", "a#b?.json", "a\\b.json",
        "a/" + "n" * 200 + ".json", "[x]{y}|z^`.json", "Z/z.jsonl", "__MACOSX/a.json",
    ]  # fmt: skip
    for name in names:
        tree.logs(name, event())
    bucket.fill(tree.root)
    for folder in ("", "a/", ".git/", "folder/"):
        path = f"/{bucket.name}/log_data/{folder}"
        assert bucket.service.forward("PUT", path, {}, b"")[0].status == 200
    of_bucket, left_out = listed(f"{bucket.url}/log_data")
    of_folder, left_out_there = listed(tree.log_folder)
    assert of_bucket == of_folder
    assert (left_out.counts, left_out.first) == (left_out_there.counts, left_out_there.first)


def test_large_folders_are_listed_side_by_side(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However keys are shared among folders, all come once, in order, and at most a part waits."""
    monkeypatch.setattr(bucket_module, "_PAGE", 4)
    random_ = random.Random(1)
    for _ in range(20):
        keys = {
            f"{random_.choice('ABC')}/{random_.choice(['', 'x/'])}{random_.randrange(40)}.json"
            for _ in range(random_.randrange(80))
        } | {f"{random_.randrange(40)}.json" for _ in range(random_.randrange(9))}
        pages = FakePages(sorted(keys))
        monkeypatch.setattr(bucket_module.Bucket, "_pages", pages.list)
        found, _ = listed(f"{bucket.url}")
        assert found == sorted(keys)


class FakePages:
    """Keys, listed as a service does."""

    def __init__(self, keys: list[str]) -> None:
        """Take note of the keys, in order."""
        self.keys = keys

    @property
    def list(self) -> Callable[[Any, str, str | None], Iterator[list[Entry]]]:
        """Return what stands for a bucket's method."""

        def pages(_: Any, prefix: str, offset: str | None) -> Iterator[list[Entry]]:
            size = bucket_module._PAGE  # noqa: SLF001
            below = f"{prefix}/" if prefix else ""
            keys = [k for k in self.keys if k.startswith(below) and (not offset or k > offset)]
            for start in range(0, len(keys), size):
                yield [Entry(key, 1, 1) for key in keys[start : start + size]]

        return pages


def test_a_listing_out_of_order_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directory buckets list in no order, which everything else relies on."""
    monkeypatch.setattr(bucket_module.Bucket, "_pages", FakePages(["b.json", "a.json"]).list)
    with pytest.raises(BucketError, match="the order of their keys"):
        listed(bucket.url)


@pytest.mark.parametrize("key", ["log_data/a//b.json", "log_data/a/./b.json"])
def test_a_key_that_cannot_be_read_is_named(database: str, bucket: Bucket, key: str) -> None:
    """A key with an empty part, or a dot for one, ends the run before anything is changed."""
    bucket.put("log_data/z.json", lines(event()))
    status, _ = bucket.service.forward("PUT", f"/{bucket.name}/{key}", {}, b"{}")
    assert status.status == 200
    with pytest.raises(SparkifyBulkError) as failure:
        sparkify_bulk.reload(logs=f"{bucket.url}/log_data", dsn=database)
    assert key in str(failure.value)


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [429, 500, 503, "reset", "cut", "stall"])
def test_what_passes_costs_nothing(
    database: str, small: Tree, bucket: Bucket, fault: int | str
) -> None:
    """An answer that fails once, is cut short or stalls is asked for again."""
    bucket.service.faults = {"song_data/A/2.json": deque([fault]), "2018/3.json": deque([fault])}
    star, rejects = star_of(database, bucket.url)
    assert (star, rejects) == star_of(database, small.root)
    assert not any(bucket.service.faults.values())


@pytest.mark.every(3)
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [429, 503, "reset", "stall"])
def test_a_service_that_does_not_come_back_ends_the_run(
    database: str, small: Tree, bucket: Bucket, fault: int | str
) -> None:
    """The star is untouched, and nothing is taken for a bad file."""
    sparkify_bulk.reload(small.root, dsn=database)
    before = read_star(database)
    bucket.service.faults = {"2018/3.json": deque([fault] * 50)}
    with pytest.raises(BucketError, match=r"2018/3\.json can't be read") as failure:
        sparkify_bulk.reload(bucket.url, dsn=database)
    assert failure.value.hint
    assert read_star(database) == before
    assert query(database, "SELECT count(*) FROM sparkify_ledger.rejects") == [(0,)]


@pytest.mark.covering
@pytest.mark.parametrize("ending", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "stalls",
    # The fourth time a folder is listed, this is done beside the thread that takes the signal.
    [("?list-type", 1), ("prefix=song_data", 4), ("song_data/A/2.json", 1),
     ("log_data/large.json", 1)],
)  # fmt: skip
def test_a_signal_ends_a_run_while_a_service_does_not_answer(
    database: str, small: Tree, bucket: Bucket, stalls: tuple[str, int], ending: tuple[int, int]
) -> None:
    """A request can't be interrupted, but nobody waits for it."""
    bucket.put("log_data/large.json", lines(*(event(n) for n in range(100, 200))))
    sparkify_bulk.reload(bucket.url, dsn=database)
    before = read_star(database)
    asked, ended, times = threading.Event(), threading.Event(), itertools.count(1)

    def stall(path: str) -> None:
        if stalls[0] in path and next(times) >= stalls[1]:
            asked.set()
            ended.wait(PATIENCE_SECONDS)

    bucket.service.between = stall
    command = [COMMAND, "reload", bucket.url, "--dsn", database]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            assert asked.wait(PATIENCE_SECONDS)
            process.send_signal(ending[0])
            # Less than a request may take.
            assert process.wait(15) == ending[1]
        finally:
            ended.set()
            process.kill()
    assert read_star(database) == before
    del small


def test_objects_that_may_not_be_read_are_rejects(
    database: str, small: Tree, bucket: Bucket
) -> None:
    """One that is denied, and one that goes while it is read, cost no other."""
    del small
    denied = "denied"
    bucket.service.faults = {"2018/2.json": deque([denied] * 9)}

    def delete(path: str) -> None:
        if path.partition("?")[0].endswith("2018/4.json"):
            bucket.delete("log_data/2018/4.json")

    bucket.service.between = delete
    report = sparkify_bulk.reload(bucket.url, dsn=database)
    assert report.rejects.by_reason == {"unreadable_file": 2}
    assert report.tables["songplays"].rows == 15
    assert query(database, "SELECT file, detail FROM sparkify_ledger.rejects ORDER BY 1") == [
        ("log_data/2018/2.json", "the file can't be read: access is denied"),
        ("log_data/2018/4.json", "the file can't be read: it is gone"),
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_an_object_replaced_while_it_is_read_is_never_mixed(
    database: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """Its parts are all of one version; the rest is a reject, and the next load reads the new."""
    monkeypatch.setattr("sparkify_bulk.source.batches.BATCH_BYTES", 3000)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 2000)
    monkeypatch.setattr(bucket_module, "_RANGE_BYTES", 1000)
    monkeypatch.setattr("sparkify_bulk.source.unpack._STEP_BYTES", 500)
    random_ = random.Random(1)
    old = lines(*(event(n, location=random_.randbytes(60).hex()) for n in range(1, 200)))
    new = lines(*(event(n, location=random_.randbytes(60).hex()) for n in range(1000, 1200)))
    pack = gzip.compress if packed else bytes
    bucket.put("log_data/a.json", pack(old))
    bucket.put("song_data/a.json", lines(song()))
    seen = []

    def replace(path: str) -> None:
        if path.endswith("log_data/a.json"):
            seen.append(path)
            if len(seen) == 8:
                bucket.put("log_data/a.json", pack(new))

    bucket.service.between = replace
    report = sparkify_bulk.reload(bucket.url, dsn=database, jobs=1)
    assert report.rejects.by_reason["unreadable_file"] >= 1
    (detail, *_), *_ = query(database, "SELECT DISTINCT detail FROM sparkify_ledger.rejects")
    assert "replaced while it was read" in detail
    places = {json.loads(line)["location"] for line in old.split(b"\n")}
    had = {place for (place,) in query(database, "SELECT location FROM sparkify.songplays")}
    assert had < places
    report = sparkify_bulk.load(bucket.url, dsn=database)
    assert report.input.events.inserted == 200


# --- access ---------------------------------------------------------------------------------------


def failure_of(address: str, database: str) -> UsageError | BucketError:
    """Return the error of a reload."""
    with pytest.raises((UsageError, BucketError)) as failure:
        sparkify_bulk.reload(address, dsn=database)
    assert failure.value.hint
    return failure.value


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("InvalidAccessKeyId", 403, "doesn't know the access key"),
        ("SignatureDoesNotMatch", 403, "the secret key isn't the access key's"),
        ("AccessDenied", 403, "access is denied"),
        ("RequestTimeTooSkewed", 403, "clock of this machine is wrong"),
        ("ExpiredToken", 400, "credentials have expired"),
        ("AuthorizationHeaderMalformed", 400, "in another region"),
        ("PermanentRedirect", 301, "in another region"),
        ("NoSuchBucket", 404, "there is no such bucket"),
        ("SlowDown", 503, "asks to slow down"),
    ],
)
def test_what_a_service_refuses_is_said_plainly(
    database: str, bucket: Bucket, code: str, status: int, said: str
) -> None:
    """The message says what is wrong, the hint what to do, and neither holds a secret."""
    bucket.service.faults = {bucket.name: deque([(status, code)] * 20)}
    failure = failure_of(bucket.url, database)
    assert said in str(failure)
    assert bucket.url in str(failure)


def test_doctor_lists_a_bucket_and_reads_one_object(
    database: str, small: Tree, bucket: Bucket
) -> None:
    """It finds what can't be read by one request of each kind, and says what is refused."""
    del small
    bucket.service.requests.clear()
    done = run("doctor", bucket.url, "--dsn", database)
    assert done.returncode == 0, done.stdout
    assert len(bucket.service.objects()) == 2
    bucket.service.faults = {"song_data/A/1.json": deque(["denied"])}
    done = run("doctor", bucket.url, "--dsn", database)
    assert done.returncode == 1
    assert "can't be read" in done.stdout
    bucket.service.faults = {bucket.name: deque([(403, "RequestTimeTooSkewed")] * 20)}
    done = run("doctor", bucket.url, "--dsn", database)
    assert done.returncode == 1
    assert "clock" in done.stdout
    assert "timedatectl" in done.stdout


def test_a_missing_bucket_and_an_empty_folder_are_told(database: str, bucket: Bucket) -> None:
    """Each has its own message."""
    assert "no such bucket" in str(failure_of("s3://nobody-has-it/data", database))
    bucket.put("elsewhere/a.json", b"{}")
    assert "nothing below" in str(failure_of(f"{bucket.url}/data", database))
    assert "has no song_data/ and no log_data/" in str(
        failure_of(f"{bucket.url}/elsewhere", database)
    )


@pytest.mark.parametrize(
    "address",
    ["s3://", "s3:///folder", "s3://key:secret@bucket/a", "s3://bucket//a", "s3://bucket:80/a",
     "s3://bucket/a?X-Amz-Signature=secret", "az://bucket/a?sv=1&sig=secret",
     "s4://bucket", "s3:/bucket/a", "https://host/a", "file://host/a", "hdfs://a/b"],
)  # fmt: skip
def test_an_address_that_cannot_be_is_refused(database: str, address: str) -> None:
    """The message names it, and what an address looks like."""
    failure = failure_of(address, database)
    assert isinstance(failure, UsageError)
    assert "secret" not in str(failure)


def test_a_bucket_without_obstore_says_what_to_install(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those who read buckets install it."""
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    done = run("reload", bucket.url)
    assert done.returncode == 2
    assert "pip install 'sparkify-bulk[cloud]'" in done.stderr


def test_a_profile_without_boto3_says_what_to_install(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that is named and can't be read isn't passed over."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "nightly")
    monkeypatch.setattr(bucket_access, "find_spec", lambda _: None)
    done = run("reload", bucket.url)
    assert done.returncode == 2
    assert "profile nightly" in done.stderr
    assert "pip install boto3" in done.stderr


def test_a_profile_is_read_by_boto3(
    database: str, small: Tree, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no key is in the environment, the profile's is used."""
    del small
    for name in KEYS:
        monkeypatch.delenv(name)
    profile = tmp_path / "credentials"
    profile.write_text("[nightly]\naws_access_key_id = AKOFPROFILE\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    monkeypatch.setenv("AWS_PROFILE", "nightly")
    sparkify_bulk.reload(bucket.url, dsn=database)
    signed = [headers["authorization"] for _, _, headers in bucket.service.requests]
    assert all("AKOFPROFILE" in header for header in signed)


def test_credentials_stand_nowhere(
    database: str, small: Tree, bucket: Bucket, tmp_path: Path
) -> None:
    """Log, report, page, ledger and errors hold neither the key nor the secret."""
    del small
    page = tmp_path / "page.html"
    done = run("reload", bucket.url, "--dsn", database, "-v", "--json", "--report", page)
    assert done.returncode == 0, done.stderr
    bucket.service.faults = {bucket.name: deque([(403, "InvalidAccessKeyId")] * 20)}
    failed = run("load", bucket.url, "--dsn", database, "-v")
    assert failed.returncode == 1
    ledger = query(database, "SELECT r::text FROM sparkify_ledger.runs AS r")
    said = done.stdout + done.stderr + page.read_text() + str(ledger)
    said += failed.stdout + failed.stderr
    for secret in KEYS.values():
        assert secret not in said


def test_whoever_gives_credentials_asks_no_service_of_the_machine(
    database: str, small: Tree, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the machine's own service is never asked."""
    del small
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"{bucket.service.url}/metadata")
    sparkify_bulk.reload(bucket.url, dsn=database)
    assert not [path for _, path, _ in bucket.service.requests if "metadata" in path]


def test_objects_anybody_may_read_need_no_credentials(
    database: str, small: Tree, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AWS_SKIP_SIGNATURE nothing is signed."""
    for file in small.root.rglob("*.json"):
        path = f"/{bucket.name}/{file.relative_to(small.root)}"
        bucket.service.forward("PUT", path, {"x-amz-acl": "public-read"}, file.read_bytes())
    bucket.service.requests.clear()
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    sparkify_bulk.reload(bucket.url, dsn=database)
    assert not [headers for _, _, headers in bucket.service.requests if "authorization" in headers]


def test_as_many_requests_as_are_set_are_under_way(
    bucket: Bucket, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be a number of requests is refused."""
    bucket.put("song_data/a.json", lines(song()))
    bucket.put("song_data/b.json", lines(song(2)))
    monkeypatch.setenv("SPARKIFY_BULK_REQUESTS", "many")
    with pytest.raises(UsageError, match="SPARKIFY_BULK_REQUESTS=many"):
        sparkify_bulk.reload(songs=f"{bucket.url}/song_data", dsn=database)
