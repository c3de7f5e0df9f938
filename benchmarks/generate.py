"""Make Sparkify-like data: a tree of song files and day files of events.

    python benchmarks/generate.py OUT --events 1000000 --songs 100000 --seed 1

Every name and title is invented from the word lists below. The same arguments give the same bytes.
The log is a small simulation: sessions wait in a heap for their next event, so lines come out in
time order and memory follows the songs, the users and the open sessions, not the events.

The data holds on purpose what makes loading hard: plays of songs that no file describes, near
misses, songs that differ only in `song_id`, one `song_id` in two files, one `artist_id` under
several names and places, users who change level or name, ties in time, repeated lines, and text
that careless encoders break.
"""

# ruff: noqa: SIM905 - word lists read better as running text
# ruff: noqa: PLR2004 - a share of the data stands where it is dealt

from __future__ import annotations

import argparse
import datetime as dt
import heapq
import itertools
import json
import os
import random
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

T = TypeVar("T")
Song: TypeAlias = dict[str, "str | int | float | None"]

HOURS_PER_DAY = 24
DAY = 86_400_000
"""Milliseconds."""
HOUR = 3600
"""Seconds; sessions are dealt out by the hour."""
LINES_PER_WRITE = 4096
"""About 2 MB a write: far fewer calls than lines, still little memory."""
SONGS_PER_FOLDER = 12
"""The real sample has ten a folder."""
EVENTS_PER_USER = 84
"""As in the real sample: 8,056 events of 96 users."""
UNKNOWN_SHARE = 1 / 3
"""Plays of songs that no song file describes."""
REPEAT_SHARE = 0.001
"""Lines written a second time, at once or up to a day later."""
MEAN_SESSION = 11
"""Events a session, about; the pacing below corrects what this misses."""
LONGEST_SESSION = 150
SECONDS_PER_EVENT = 220
USUAL_MILLISECOND = 796
"""Nine sessions in ten tick on one millisecond, so that plays tie in time as real ones do."""

HOURS = (6, 4, 3, 2, 2, 3, 4, 5, 7, 8, 9, 10, 10, 11, 13, 15, 16, 17, 16, 14, 12, 11, 9, 8)
WEEKDAYS = (14, 15, 16, 16, 15, 9, 8)

FIRST_NAMES = (
    "Ada Abel Bea Boris Cleo Cyrus Dalia Dario Edda Emil Fern Fabio Gia Gustav Hana Hugo Ines "
    "Ivo Juno Joel Kira Knut Lena Luca Mira Milo Nora Nils Olga Otis Petra Pavel Rhea Remy Suri "
    "Sven Tess Tomas Una Ugo Vera Viggo Wren Wim Xenia Yara Yusuf Zoe Zane Zoë André Søren"
).split()
LAST_NAMES = (
    "Ash Alder Bay Birch Brook Carver Cole Cooper Dale Drake Dunn Elm Ford Fisher Frost Gale "
    "Glen Grove Hale Hart Heath Hill Holt Hurst Keene Lake Lane Larch Marsh Mason Mead Moor "
    "North Oakes Park Pike Pond Quill Reed Ridge Rowe Sands Shore Slate Stone Thorne Vale Wade "
    "Ward Wells West Wilde Wolfe Wood Yates O'Dell Müller Peña"
).split()
ADJECTIVES = (
    "Amber Ancient Broken Burning Copper Crooked Distant Electric Empty Fading Final Frozen "
    "Gentle Golden Hidden Hollow Humble Idle Iron Lazy Little Lonely Lost Loud Lunar Midnight "
    "Neon Nervous Northern Open Paper Patient Plastic Quiet Restless Rusty Secret Silent Silver "
    "Simple Sleeping Slow Small Southern Strange Sudden Tall Velvet Violet Wandering Warm "
    "Wicked Wild Winter Yellow"
).split()
NOUNS = (
    "Anchor Arrow Balloon Bell Bicycle Bird Bridge Candle Canyon Carnival Castle Circus Clock "
    "Cloud Comet Compass Corner Desert Diamond Door Dream Engine Feather Fire Flower Forest "
    "Garden Ghost Harbor Heart Highway Horse Island Kitchen Ladder Lantern Letter Lion Machine "
    "Map Mirror Moon Mountain Ocean Orchard Paradise Piano Planet Radio Rain River Road Room "
    "Satellite Shadow Ship Signal Snow Spider Station Storm Street Sun Telephone Thunder Tiger "
    "Tower Train Valley Window"
).split()
VERBS = (
    "Call Carry Catch Chase Count Dance Dream Drive Fall Find Fly Follow Forget Hold Keep Leave "
    "Move Paint Remember Run Sing Sleep Stay Swim Take Turn Wait Wake Walk Watch Write"
).split()
COMMON_TITLES = (
    "Intro|Home|Stay|Outro|Alone|Hold On|Tonight|Angel|Fire|Runaway|Untitled|Forever|Breathe|Rain|"
    "Without You|Interlude|Summer|Gone|You|Sunday"
).split("|")
ODD_TEXTS = (
    "Café Crème",
    "Cafe\N{COMBINING ACUTE ACCENT} Cre\N{COMBINING GRAVE ACCENT}me",
    "夜の汽車",
    "조용한 강",
    "Тихий дождь",
    "شارع طويل",
    "🎸 Loud \N{WOMAN}\N{ZERO WIDTH JOINER}\N{MICROPHONE} 🎤",
    'The "Quoted" One',
    "It's 'Fine'",
    "Back\\slash \\n not a newline",
    "\\N",
    "\\.",
    "NULL",
    "Tab\there",
    "Line\nbreak",
    "Carriage\r\nreturn",
    "Zero\N{ZERO WIDTH SPACE}width",
    "Line\N{LINE SEPARATOR}separator",
    "A/B, C; D|E",
    " spaces around ",
    "100% {braces} $1 [x]",
    "Ungefähr Straße",
    "Mojibake TÃº",
    "Bell\x07 and delete\x7f",
    "Beyond \U0001d11e clef",
)
TOWN_STARTS = (
    "Ash Bright Cedar Clear East Fair Glen Green High Lake Mill New North Oak Rock".split()
)
TOWN_ENDS = (
    "bridge brook dale field ford grove haven hill mont port side ton view ville wood".split()
)
STATES = "AZ CA CO FL GA IL IN-OH MI MN NC NY-NJ-PA OR-WA TX VA-MD WI".split()
COUNTRIES = "USA|United Kingdom|Sverige|München, Germany|日本|São Paulo, Brasil|Québec".split("|")

PLATFORMS = (
    "Windows NT 6.1; WOW64",
    "Windows NT 6.3; WOW64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_9_4",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "X11; Ubuntu; Linux x86_64",
)
BROWSERS = (
    "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{minor}.143 Safari/537.36",
    "AppleWebKit/537.78.2 (KHTML, like Gecko) Version/7.0.{minor} Safari/537.78.2",
    "AppleWebKit/537.36 (KHTML, like Gecko) Chromium/{major}.0.{minor}.94 Safari/537.36",
    "Gecko/20100101 Firefox/{major}.0",
)


class Page(NamedTuple):
    """A page of the service, as its log shows it."""

    name: str
    method: str
    status: int
    weight: float = 0
    auth: str = "Logged In"


NEXT_SONG = Page("NextSong", "PUT", 200, 862)
LOGOUT = Page("Logout", "PUT", 307, 5)
SUBMIT_UPGRADE = Page("Submit Upgrade", "PUT", 307, 1.5)
SUBMIT_DOWNGRADE = Page("Submit Downgrade", "PUT", 307, 1)
SAVE_SETTINGS = Page("Save Settings", "PUT", 307, 1.5)
PAGES = (
    NEXT_SONG,
    Page("Home", "GET", 200, 85),
    LOGOUT,
    Page("Downgrade", "GET", 200, 7),
    Page("Settings", "GET", 200, 7),
    Page("Help", "GET", 200, 6),
    Page("About", "GET", 200, 4),
    Page("Upgrade", "GET", 200, 4),
    Page("Error", "GET", 404, 1.5),
    SUBMIT_UPGRADE,
    SUBMIT_DOWNGRADE,
    SAVE_SETTINGS,
)
PAGE_WEIGHTS = tuple(itertools.accumulate(page.weight for page in PAGES))
GUEST_HOME = Page("Home", "GET", 200, auth="Logged Out")
GUEST_HELP = Page("Help", "GET", 200, auth="Logged Out")
LOGIN = Page("Login", "PUT", 307, auth="Logged Out")


class Track(NamedTuple):
    """What a play shows of a song, as JSON text, and its length in whole seconds."""

    artist: str
    title: str
    length: str
    seconds: int


NO_TRACK = Track("null", "null", "null", 0)


@dataclass(slots=True)
class User:
    """A listener; all but `level` and `active` is JSON text."""

    user_id: str
    first_name: str = "null"
    last_name: str = "null"
    gender: str = "null"
    level: str = "free"
    location: str = "null"
    registration: str = "null"
    agents: tuple[str, ...] = ("null",)
    active: bool = False


GUEST = User('""')


@dataclass(slots=True)
class Session:
    """One visit: its pages still to come, last first."""

    session_id: int
    user: User
    agent: str
    pages: list[Page]
    item: int = 0


class Artist(NamedTuple):
    """An artist as most of the song files describe it."""

    artist_id: str
    name: str
    location: str
    latitude: float | None
    longitude: float | None


def generate(
    out: Path,
    *,
    events: int,
    songs: int,
    seed: int = 1,
    days: int = 30,
    start: dt.date = dt.date(2024, 5, 6),
    files_per_day: int = 1,
    users: int | None = None,
) -> None:
    """Write `out/song_data` and `out/log_data`.

    Args:
        out: The folder to fill; it must not have the two folders yet.
        events: Lines over all day files, repeated ones included.
        songs: Song files.
        seed: Another seed, other data of the same kind.
        days: Days the log spans.
        start: Its first day.
        files_per_day: Files that each day is cut into, by the hour; a divisor of 24.
        users: Listeners, or None for as many as the real sample has for its events.

    Raises:
        FileExistsError: One of the two folders exists.
        ValueError: A count makes no sense.
    """
    if min(events, songs) < 0 or days < 1 or files_per_day < 1 or HOURS_PER_DAY % files_per_day:
        raise ValueError("counts must not be negative, and files_per_day must divide 24")
    for folder in ("song_data", "log_data"):
        (out / folder).mkdir(parents=True)
    rng = random.Random(seed)
    known = list(_write_songs(rng, out / "song_data", songs))
    simulation = Simulation(
        rng,
        known,
        _users(rng, users or max(12, events // EVENTS_PER_USER), start),
        events,
        slots=_slots(start, days),
    )
    with EventFiles(out / "log_data", start, files_per_day) as files:
        simulation.run(files)


def _zipf(rng: random.Random, count: int, exponent: float) -> list[float]:
    """Weights of `count` things of shuffled rank: few take most."""
    ranks = list(range(1, count + 1))
    rng.shuffle(ranks)
    return [rank**-exponent for rank in ranks]


# Songs


def _write_songs(rng: random.Random, folder: Path, count: int) -> Iterator[Track]:
    """Write the song files one by one and hand back what their plays show."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    used = letters[: min(26, max(1, round((count / SONGS_PER_FOLDER) ** (1 / 3))))]
    made: set[str] = set()
    for song in _songs(rng, count):
        place = "".join(rng.choices(used, k=3))
        track_id = f"TR{place}{''.join(rng.choices(letters, k=2))}128F{rng.getrandbits(28):07X}"
        parent = os.path.join(folder, *place)  # noqa: PTH118 - a Path a file is slow
        if parent not in made:
            os.makedirs(parent)  # noqa: PTH103 - the same
            made.add(parent)
        text = json.dumps(song, ensure_ascii=rng.random() < 0.5)  # both spellings
        handle = os.open(f"{parent}/{track_id}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(handle, text.encode())
        os.close(handle)
        yield _track(rng, str(song["title"]), str(song["artist_name"]), str(song["duration"]))


def _songs(rng: random.Random, count: int) -> Iterator[Song]:
    """Invent song records, with a few that clash with an earlier one."""
    artists = [_artist(rng) for _ in range(max(1, count * 7 // 20))]
    weights = list(itertools.accumulate(_zipf(rng, len(artists), 0.7)))
    recent: list[Song] = []
    for number, artist in enumerate(rng.choices(artists, cum_weights=weights, k=count)):
        song_id = f"SO{_letters(rng, 5)}12A{rng.getrandbits(32):08X}"
        if number % 150 == 149:  # each 150th, so that small trees have one
            song = {**rng.choice(recent), "song_id": song_id}
        elif number % 170 == 169:  # each 170th, for the same reason
            old = rng.choice(recent)
            song = {**old, "title": f"{old['title']} (Remastered)", "year": 2011}
        else:
            song = _song(rng, song_id, artist, rng.choice(artists))
        recent = [*recent[-99:], song]
        yield song


def _song(rng: random.Random, song_id: str, artist: Artist, guest: Artist) -> Song:
    """Invent one song of `artist`, at times with a guest, or with another address."""
    name, location = artist.name, artist.location
    latitude, longitude = artist.latitude, artist.longitude
    roll = rng.random()
    if roll < 0.05:  # share of songs credited to two
        name = f"{name} feat. {guest.name}"
    elif roll < 0.09:  # share of songs with another address
        location, latitude, longitude = _place(rng), _degrees(rng, 90), _degrees(rng, 180)
    return {
        "num_songs": 1,
        "artist_id": artist.artist_id,
        "artist_latitude": latitude,
        "artist_longitude": longitude,
        "artist_location": location,
        "artist_name": name,
        "song_id": song_id,
        "title": _title(rng),
        "duration": _duration(rng),
        "year": 0 if rng.random() < 0.45 else int(rng.triangular(1955, 2024, 2006)),
    }


def _artist(rng: random.Random) -> Artist:
    """Invent an artist; most are of unknown address, as in the real sample."""
    somewhere, mapped = rng.random() < 0.55, rng.random() < 0.4
    return Artist(
        f"AR{_letters(rng, 5)}1187{rng.getrandbits(28):07X}",
        _artist_name(rng),
        _place(rng) if somewhere else "",
        _degrees(rng, 90) if mapped else None,
        _degrees(rng, 180) if mapped else None,
    )


def _artist_name(rng: random.Random) -> str:
    """Invent an artist's name; two artists may well share one."""
    adjective, noun, other = rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(NOUNS)
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    patterns = (
        f"The {adjective} {noun}s",
        f"{first} {last}",
        f"{noun} & {other}",
        f"{first} {last} And The {noun}s",
        f"DJ {adjective}",
        f"{adjective} {noun}",
        f"{noun} of {first}",
    )
    return _oddly(rng, rng.choice(patterns))


def _title(rng: random.Random) -> str:
    """Invent a title; one in twelve is a title that many songs bear."""
    if rng.random() < 1 / 12:
        return rng.choice(COMMON_TITLES)
    adjective, noun, other = rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(NOUNS)
    verb = rng.choice(VERBS)
    patterns = (
        f"{adjective} {noun}",
        f"{verb} The {noun}",
        f"{noun} In The {other}",
        f"{verb} Me To The {adjective} {noun}",
        f"{noun} (Live At {rng.choice(TOWN_STARTS)}{rng.choice(TOWN_ENDS)})",
        f"{verb} & {rng.choice(VERBS)}",
        f"Don't {verb} My {noun} (Album Version)",
        f"{adjective} {noun} / {other}",
    )
    return _oddly(rng, rng.choice(patterns))


def _oddly(rng: random.Random, text: str) -> str:
    """Mix something odd into one text of twenty-five."""
    if rng.random() >= 0.04:
        return text
    odd = rng.choice(ODD_TEXTS)
    return odd if rng.random() < 0.3 else f"{text} {odd}"  # a share of them alone


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=count))


def _place(rng: random.Random) -> str:
    if rng.random() < 0.2:  # share of artists with a country alone
        return rng.choice(COUNTRIES)
    return f"{rng.choice(TOWN_STARTS)}{rng.choice(TOWN_ENDS)}, {rng.choice(STATES)[:2]}"


def _degrees(rng: random.Random, most: float) -> float:
    return round(rng.uniform(-most, most), 5)


def _duration(rng: random.Random) -> float:
    return round(min(1800.0, rng.lognormvariate(5.42, 0.35)), 5)


def _track(rng: random.Random, title: str, artist: str, length: str) -> Track:
    """Spell a song as the log does: mostly ASCII with escaped slashes, at times plain UTF-8."""
    ascii_only = rng.random() < 0.7
    return Track(
        _json(artist, ascii_only=ascii_only),
        _json(title, ascii_only=ascii_only),
        length,
        int(float(length)),
    )


def _json(text: str, *, ascii_only: bool = True) -> str:
    return json.dumps(text, ensure_ascii=ascii_only).replace("/", r"\/")


def _unknown(rng: random.Random, known: Sequence[Track]) -> Track:
    """Invent a song that no file describes; one in eight nearly is one that a file describes."""
    if not known or rng.random() >= 1 / 8:
        return _track(rng, _title(rng), _artist_name(rng), str(_duration(rng)))
    near = rng.choice(known)
    title, artist = json.loads(near.title), json.loads(near.artist)
    length = float(near.length)
    misses = (
        (title, artist, round(length + 0.00001, 5)),
        (title.upper() + "!", artist, length),
        (title, f"{artist} ", length),
        (unicodedata.normalize("NFD", title) + "\N{ZERO WIDTH SPACE}", artist, length),
    )
    title, artist, length = rng.choice(misses)
    return _track(rng, title, artist, str(length))


# Users


def _users(rng: random.Random, count: int, start: dt.date) -> list[User]:
    """Invent the listeners."""
    agents = [_agent(rng) for _ in range(60)]
    popularity = list(itertools.accumulate(rank**-0.8 for rank in range(1, len(agents) + 1)))
    joined = _epoch(start) * 1000
    found = []
    for number in range(count):
        located = rng.random() < 0.99  # the others tell an empty place
        found.append(
            User(
                user_id=f'"{number + 2}"',
                first_name=_json(rng.choice(FIRST_NAMES)),
                last_name=_json(rng.choice(LAST_NAMES)),
                gender=rng.choice(('"F"', '"M"')),
                level="paid" if rng.random() < 0.3 else "free",
                location=_json(_metro(rng) if located else ""),
                registration=f"{joined - rng.randrange(2_000_000) * 1000}.0",
                agents=tuple(rng.choices(agents, cum_weights=popularity, k=2)),
            )
        )
    return found


def _metro(rng: random.Random) -> str:
    """Invent a metropolitan area of one to three towns."""
    towns = (f"{rng.choice(TOWN_STARTS)}{rng.choice(TOWN_ENDS)}" for _ in range(rng.randint(1, 3)))
    return f"{'-'.join(towns)}, {rng.choice(STATES)}"


def _agent(rng: random.Random) -> str:
    """Put a user agent together; the real log keeps quotation marks around most."""
    browser = rng.choice(BROWSERS)
    named = browser.format(major=rng.randint(30, 124), minor=rng.randint(1, 2500))
    agent = f"Mozilla/5.0 ({rng.choice(PLATFORMS)}) {named}"
    return _json(agent if "Firefox" in agent else f'"{agent}"')


# Events


def _epoch(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())


def _slots(start: dt.date, days: int) -> list[tuple[int, int]]:
    """List the hours of the log as (first second, weight)."""
    first = _epoch(start)
    return [
        (
            first + hour * HOUR,
            HOURS[hour % HOURS_PER_DAY]
            * WEEKDAYS[(start.weekday() + hour // HOURS_PER_DAY) % len(WEEKDAYS)],
        )
        for hour in range(days * HOURS_PER_DAY)
    ]


class EventFiles:
    """The day files: takes lines hour after hour, writes them in large pieces."""

    def __init__(self, folder: Path, start: dt.date, per_day: int) -> None:
        """Write under `folder`, `per_day` files a day from `start` on."""
        self._folder = folder
        self._start = start
        self._per_day = per_day
        self._path: Path | None = None
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left."""
        self._flush()

    def turn_to(self, hour: int) -> None:
        """Send the lines that follow to the file of this hour of the log."""
        day = self._start + dt.timedelta(days=hour // HOURS_PER_DAY)
        part = hour % HOURS_PER_DAY * self._per_day // HOURS_PER_DAY
        suffix = f"-{part:02d}" if self._per_day > 1 else ""
        path = self._folder / f"{day:%Y}" / f"{day:%m}" / f"{day:%Y-%m-%d}-events{suffix}.json"
        if path != self._path:
            self._flush()
            self._path = path

    def write(self, line: str) -> None:
        """Take a line."""
        self._lines.append(line)
        if len(self._lines) >= LINES_PER_WRITE:
            self._flush()

    def _flush(self) -> None:
        """Append the lines in hand; a newline stands between two lines, none at the end."""
        if not self._lines or self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if file.tell():
                file.write(b"\n")
            file.write("\n".join(self._lines).encode())
        self._lines.clear()


class Simulation:
    """Sessions of many users, played out in time order until enough lines are written."""

    def __init__(
        self,
        rng: random.Random,
        known: Sequence[Track],
        users: Sequence[User],
        events: int,
        *,
        slots: Sequence[tuple[int, int]],
    ) -> None:
        """Deal `events` lines over the hours in `slots`."""
        self._rng = rng
        self._tracks = _draws(rng, *_charts(rng, known))
        self._users = _draws(rng, users, _zipf(rng, len(users), 0.8))
        self._slots = slots
        self._end = (slots[-1][0] + HOUR) * 1000
        self._events = events
        self._written = 0
        self._planned = 0
        self._now = slots[0][0] * 1000
        self._ids = itertools.count(1)
        self._ties = itertools.count()
        self._heap: list[tuple[int, int, Session | str]] = []

    def run(self, files: EventFiles) -> None:
        """Write the log."""
        weight_left = sum(weight for _, weight in self._slots)
        for hour, (second, weight) in enumerate(self._slots):
            files.turn_to(hour)
            missing = self._events - self._written - self._planned
            wanted = max(0, missing) * weight / weight_left / MEAN_SESSION
            weight_left -= weight
            for _ in range(int(wanted + self._rng.random())):
                self._open(second * 1000 + self._rng.randrange(HOUR) * 1000)
            self._play(files, (second + HOUR) * 1000)
        self._fill(files)

    def _open(self, at: int) -> None:
        """Plan a session that begins about `at`, and now and then its twin on another device."""
        rng = self._rng
        at += USUAL_MILLISECOND if rng.random() < 0.9 else rng.randrange(1000)
        user = next(self._users)
        for _ in range(4):
            if not user.active:
                break
            user = next(self._users)
        self._plan(at, user, user.agents[0])
        if rng.random() < 0.005:  # share of twins
            self._plan(at, user, user.agents[1])

    def _plan(self, at: int, user: User, agent: str) -> None:
        """Put one session into the heap, no longer than the time left."""
        fits = (self._end - at) // (SECONDS_PER_EVENT * 1000) + 1
        length = min(1 + int(self._rng.lognormvariate(1.9, 0.9)), LONGEST_SESSION, fits)
        user.active = True
        session = Session(next(self._ids), user, agent, self._pages(length))
        self._planned += length
        heapq.heappush(self._heap, (at, next(self._ties), session))

    def _pages(self, length: int) -> list[Page]:
        """Draw the pages of a session, last first: at times a login before, a logout after."""
        pages = self._rng.choices(PAGES, cum_weights=PAGE_WEIGHTS, k=length)
        roll = self._rng.random()
        if roll < 0.12 and length > 2:  # sessions that begin logged out
            pages[-1] = GUEST_HOME if roll < 0.1 else GUEST_HELP  # most at home
            pages[-2] = LOGIN
        elif roll > 0.9 and length > 1:  # sessions that end logged out
            pages[0] = LOGOUT
        return pages

    def _play(self, files: EventFiles, until: int) -> None:
        """Write every event before `until`."""
        heap, rng = self._heap, self._rng
        while heap and heap[0][0] < until and self._written < self._events:
            self._now, _, item = heap[0]
            if isinstance(item, str):
                heapq.heappop(heap)
                line = item
            else:
                line, at = self._event(item)
                self._planned -= 1
                if item.pages:
                    heapq.heapreplace(heap, (at, next(self._ties), item))
                else:
                    heapq.heappop(heap)
                    item.user.active = False
                if rng.random() < REPEAT_SHARE:
                    again = self._now + rng.choice((0, 0, rng.randrange(DAY)))
                    heapq.heappush(heap, (min(again, self._end - 1), next(self._ties), line))
            files.write(line)
            self._written += 1

    def _event(self, session: Session) -> tuple[str, int]:
        """Spell the session's next event; return it with the time of the one after."""
        page, user, now = session.pages.pop(), session.user, self._now
        track = next(self._tracks) if page is NEXT_SONG else NO_TRACK
        shown, agent = (user, session.agent) if page.auth == "Logged In" else (GUEST, "null")
        line = (
            f'{{"artist":{track.artist},"auth":"{page.auth}","firstName":{shown.first_name},'
            f'"gender":{shown.gender},"itemInSession":{session.item},"lastName":{shown.last_name},'
            f'"length":{track.length},"level":"{user.level}","location":{shown.location},'
            f'"method":"{page.method}","page":"{page.name}","registration":{shown.registration},'
            f'"sessionId":{session.session_id},"song":{track.title},"status":{page.status},'
            f'"ts":{now},"userAgent":{agent},"userId":{shown.user_id}}}'
        )
        session.item += 1
        if page is SUBMIT_UPGRADE:
            user.level = "paid"
        elif page is SUBMIT_DOWNGRADE:
            user.level = "free"
        elif page is SAVE_SETTINGS:
            user.last_name = _json(self._rng.choice(LAST_NAMES))
        return line, now + 1000 * (track.seconds or 1 + int(self._rng.random() * 60))

    def _fill(self, files: EventFiles) -> None:
        """Make the count exact with single plays at the end of the last hour."""
        missing = self._events - self._written
        for at in sorted(self._rng.choices(range(self._now, self._end), k=missing)):
            self._now = at
            user = next(self._users)
            line, _ = self._event(Session(next(self._ids), user, user.agents[0], [NEXT_SONG]))
            files.write(line)


def _charts(rng: random.Random, known: Sequence[Track]) -> tuple[list[Track], list[float]]:
    """Join known and unknown songs into one chart, each with its share of the plays."""
    unknown = [_unknown(rng, known) for _ in range(max(20, len(known)))]
    chart: list[Track] = []
    weights: list[float] = []
    for tracks, share in ((known, 1 - UNKNOWN_SHARE), (unknown, UNKNOWN_SHARE)):
        ranked = _zipf(rng, len(tracks), 0.8)
        chart += tracks
        total = sum(ranked)
        weights += [weight * share / total for weight in ranked]
    return chart, weights


def _draws(rng: random.Random, items: Sequence[T], weights: Sequence[float]) -> Iterator[T]:
    """Draw from `items` without end, many at a time since one at a time is slow."""
    cumulated = list(itertools.accumulate(weights))
    while True:
        yield from rng.choices(items, cum_weights=cumulated, k=LINES_PER_WRITE)


def main() -> None:
    """Read the command line, generate, tell how long it took."""
    parser = argparse.ArgumentParser(description="Make Sparkify-like data.")
    parser.add_argument("out", type=Path, help="folder to fill")
    parser.add_argument("--events", type=int, required=True, help="lines in the log")
    parser.add_argument("--songs", type=int, required=True, help="song files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--start", type=dt.date.fromisoformat, default=dt.date(2024, 5, 6))
    parser.add_argument("--files-per-day", type=int, default=1)
    parser.add_argument("--users", type=int, help=f"default: one for {EVENTS_PER_USER} events")
    arguments = vars(parser.parse_args())
    began = time.perf_counter()
    generate(**arguments)
    print(
        f"{arguments['events']} events and {arguments['songs']} songs"
        f" in {time.perf_counter() - began:.1f} s"
    )


if __name__ == "__main__":
    main()
