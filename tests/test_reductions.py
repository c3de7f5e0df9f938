"""What a reload keeps in mind of the songs, users and plays it has staged."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sparkify_bulk.transform import reductions
from sparkify_bulk.transform.fields import EARLIEST_MS, LATEST_MS, SONGS
from sparkify_bulk.transform.frames import credits_of, latest_of_each_user, play_keys
from sparkify_bulk.transform.reductions import Doubtful, Plays, Songs, Users


def moment(milliseconds: int) -> datetime:
    """Return a moment, by milliseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def plays(*keys: tuple[int, int, int, int], level: str = "free") -> pl.DataFrame:
    """Return plays by moment, user, session and item."""
    names = ("ts", "user_id", "session_id", "item_in_session")
    frame = pl.DataFrame(list(keys), schema=dict.fromkeys(names, pl.Int64), orient="row")
    texts = {"first_name": "F", "last_name": "L", "gender": "X", "level": level}
    return frame.with_columns(**{name: pl.lit(text) for name, text in texts.items()})


def test_equal_plays_have_equal_keys_and_moments_stay_whole() -> None:
    """The upper bits of a key are the moment, from the earliest to the latest there may be."""
    moments = (EARLIEST_MS, 1, LATEST_MS)
    keys = play_keys(plays(*((ts, 2**63 - 1, -(2**63), item) for ts in moments for item in (1, 1))))
    assert keys[::2].to_list() == keys[1::2].to_list()
    assert (keys[::2] // 2**22).to_list() == list(moments)


@pytest.mark.parametrize("other", [(1, 3, 1, 1), (1, 2, 3, 1), (1, 2, 1, 3), (1, 1, 2, 1)])
def test_other_plays_of_a_moment_have_other_keys(other: tuple[int, int, int, int]) -> None:
    """User, session and item all count, each in its own place."""
    assert play_keys(plays((1, 2, 1, 1), other)).n_unique() == 2


def taken(*batches: list[int]) -> tuple[list[int], Doubtful]:
    """Take note of batches of plays, by moments; return all moments taken, and what is doubtful."""
    noted = Plays()
    takes = [noted.add(play_keys(plays(*((ts, 1, 1, 1) for ts in batch)))) for batch in batches]
    takes.append(noted.take())
    return [ts for take in takes if take is not None for ts in take], noted.doubtful()


def test_plays_read_twice_are_found_within_batches_and_across() -> None:
    """Moments come out once and in order, and those of plays that may be one are told."""
    moments, doubtful = taken([3, 1, 2, 2], [5, 4], [3, 6])
    assert moments == [1, 2, 3, 4, 5, 6]
    assert sorted(doubtful.moments) == [moment(2), moment(3)]
    assert not doubtful.spans
    assert not taken([1, 2], [3])[1]
    assert not taken()[1]


def test_different_plays_of_a_moment_are_not_doubtful() -> None:
    """What differs in user, session or item is no play read twice, and shares its moment."""
    noted = Plays()
    noted.add(play_keys(plays((1, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1), (1, 1, 1, 2))))
    moments = noted.take()
    assert moments is not None
    assert moments.to_list() == [1]
    assert not noted.doubtful()


def test_what_was_taken_apart_is_doubtful_where_it_overlaps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the bound keys are forgotten: only spans of time that two takes share need a look."""
    monkeypatch.setattr(reductions, "KEYS_KEPT", 1)
    assert taken([1, 4], [5, 9])[1].spans == []
    assert taken([1, 4], [4, 9])[1].spans == [(moment(4), moment(4))]
    assert taken([1, 9], [2, 3], [20, 30])[1].spans == [(moment(2), moment(3))]
    assert taken([7, 9], [1, 8], [2, 30])[1].spans == [
        (moment(2), moment(8)),
        (moment(7), moment(9)),
    ]


def test_many_doubtful_moments_become_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of moments that would be too long is told by its ends."""
    monkeypatch.setattr(reductions, "_DOUBTFUL_MOMENTS", 1)
    assert taken([1, 5, 9], [1, 5])[1] == Doubtful([], [(moment(1), moment(5))])


@pytest.mark.parametrize("kept", [100, 2, 0])
def test_users_are_reduced_to_their_latest_plays(
    monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """However much is held, all that is sent holds each user as of the latest play."""
    monkeypatch.setattr(reductions, "USERS_KEPT", kept)
    users = Users()
    batches = [plays((1, 1, 1, 1), (5, 2, 1, 1)), plays((9, 1, 1, 1)), plays((2, 2, 1, 1))]
    sent = [users.add(latest_of_each_user(batch)) for batch in batches]
    sent.append(users.take())
    rows = pl.concat(frame for frame in sent if frame is not None)
    latest = rows.group_by("user_id").agg(pl.col("start_time").max()).sort("user_id")
    assert latest.rows() == [(1, moment(9)), (2, moment(5))]
    assert rows.height == (2 if kept == 100 else 4 if kept == 0 else rows.height)
    assert users.take() is None


def songs_of(*batches: list[tuple[str, str]]) -> Songs:
    """Take note of batches of songs: number and title of each."""
    noted = Songs()
    for number, batch in enumerate(batches):
        rows = [
            {"file": 0, "song_id": song_id, "title": title, "artist_name": "A", "duration": 1.5,
             "source_offset": offset}
            for offset, (song_id, title) in enumerate(batch)
        ]  # fmt: skip
        # As workers end, not in the order of the files.
        place = (f"{9 - number}.json".encode(), 0)
        noted.add(credits_of(pl.DataFrame(rows, schema=SONGS)), place)
    return noted


def named(songs: Songs) -> list[tuple[str, str]]:
    """Return which song each title names."""
    found = songs.credits()
    assert found is not None
    return sorted(found.select("title", "song_id").rows())


def test_credits_name_the_smallest_song() -> None:
    """Of several songs with one title, artist and duration the smallest number is named."""
    assert named(songs_of([("S3", "T"), ("S2", "U")], [("S1", "T")])) == [("T", "S1"), ("U", "S2")]
    assert named(songs_of()) == []


def test_a_song_described_twice_is_credited_as_its_last_source_says() -> None:
    """The record of the greater path counts, and in one file the later one, whoever was first."""
    twice = songs_of([("S1", "new")], [("S1", "old"), ("S2", "older"), ("S2", "later")])
    assert named(twice) == [("later", "S2"), ("new", "S1")]


def test_too_many_songs_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound nothing is said of what plays may name."""
    monkeypatch.setattr(reductions, "CREDITS_KEPT", 1)
    assert songs_of([("S1", "T"), ("S2", "T")]).credits() is None
