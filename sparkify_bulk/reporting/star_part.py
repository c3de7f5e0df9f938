"""The page's part on the star as it is now."""

import datetime as dt
from collections.abc import Mapping, Sequence

from sparkify_bulk.reporting import figures, periods
from sparkify_bulk.reporting.facts import Row, Star
from sparkify_bulk.reporting.parts import Chart, Ranking, Table
from sparkify_bulk.reporting.periods import Series
from sparkify_bulk.units import count, share

_MOST_GAPS = 20


def star_charts(star: Star | None) -> list[Chart]:
    """Return the charts of plays and users over time."""
    if star is None or not star.days:
        return []
    return [_plays_chart(star), _new_users_chart(star), _levels_chart(star), _hours_chart(star)]


def _series(star: Star, by_day: Mapping[dt.date, Sequence[int]]) -> Series:
    return periods.series(by_day, star.days[0]["day"], star.days[-1]["day"])


def _plays_chart(star: Star) -> Chart:
    series = _series(star, {row["day"]: [row["plays"]] for row in star.days})
    title = f"Plays by {series.unit}"
    table = _series_table(series, "plays")
    return Chart(title, figures.bars(title, series), table, _series_note(series))


def _hours_chart(star: Star) -> Chart:
    title = "Plays by hour and weekday"
    rows = [
        (f"{hour:02}:00", *(star.hours.get((weekday, hour), 0) for weekday in range(7)))
        for hour in range(24)
    ]
    (weekday, hour), most = max(star.hours.items(), key=lambda item: (item[1], item[0]))
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    note = f"UTC. Most on {names[weekday]}s from {hour:02}:00: {count(most, 'play')}."
    columns = ("hour", *(name[:3] for name in names))
    return Chart(title, figures.heat_map(title, star.hours), Table(columns, rows), note)


def _levels_chart(star: Star) -> Chart:
    names = ["free", "paid"]
    counts = {row["day"]: [row["free"], row["paid"]] for row in star.days}
    if any(row["plays"] > row["free"] + row["paid"] for row in star.days):
        names.append("others")
        for row in star.days:
            counts[row["day"]].append(row["plays"] - row["free"] - row["paid"])
    series = _series(star, counts)
    title = f"Plays of free and paid users by {series.unit}"
    table = _series_table(series, *names)
    return Chart(title, figures.lines(title, series, names), table, _series_note(series))


def _new_users_chart(star: Star) -> Chart:
    series = _series(star, {day: [users] for day, users in star.new_users.items()})
    title = f"New users by {series.unit}"
    note = f"By their first play in the star. {_series_note(series)}"
    return Chart(title, figures.bars(title, series), _series_table(series, "new users"), note)


def _series_table(series: Series, *names: str) -> Table:
    return Table((series.unit, *names), list(zip(series.labels, *series.counts, strict=True)))


def _series_note(series: Series) -> str:
    if series.unit == "day":
        return "Days are UTC."
    return (
        f"By {series.unit}, as there are more than {periods.MOST} days; the first {series.unit} "
        "and the last may not be whole. Days are UTC."
    )


def rankings(star: Star | None) -> list[Ranking]:
    """Return what was played most, and where."""
    if star is None or not star.days:
        return []
    plays = plays_of(star)
    return [
        Ranking("Most played songs", "song", star.songs, plays),
        Ranking("Most played artists", "artist", star.artists, plays),
        Ranking("Top locations", "location", star.locations, plays),
    ]


def quality(star: Star | None) -> list[Row]:
    """Return what is known of how much: rows of `name`, `known`, `all` and a note."""
    if star is None:
        return []
    plays, sizes = plays_of(star), star.sizes
    matched = sum(row["matched"] for row in star.days)
    rows = [
        ("Plays matched with a song", matched, plays, "the others keep the event's own words"),
        ("Songs with a year", sizes["songs"] - sizes["songs_without_year"], sizes["songs"], ""),
        (
            "Artists with a place",
            sizes["artists"] - sizes["artists_without_place"],
            sizes["artists"],
            "",
        ),
    ]
    if star.days:
        days = (star.days[-1]["day"] - star.days[0]["day"]).days + 1
        rows.append(("Days with plays", len(star.days), days, _gaps_note(star)))
    return [
        {"name": name, "known": known, "all": of, "share": share(known, of), "note": note,
         "percent": 100 * known / of if of else 0}
        for name, known, of, note in rows
    ]  # fmt: skip


def gaps(star: Star) -> list[periods.Gap]:
    """Return the days without plays between the first and the last."""
    return list(periods.gaps(row["day"] for row in star.days))


def _gaps_note(star: Star) -> str:
    """Name the days without plays, as many as can be read."""
    found = gaps(star)
    if not found:
        return "from the first play to the last"
    shown = sorted(found, key=lambda gap: (-gap.days, gap.first))[:_MOST_GAPS]
    shown.sort(key=lambda gap: gap.first)
    named = [f"{gap.first}" if gap.days == 1 else f"{gap.first} to {gap.last}" for gap in shown]
    more = len(found) - len(shown)
    return f"none on {', '.join(named)}" + (f", and in {more:,} shorter gaps" if more else "")


def plays_of(star: Star) -> int:
    """Return how many plays a star holds."""
    return sum(row["plays"] for row in star.days)


def days_of(star: Star) -> str:
    """Return the days from the first play to the last."""
    first, last = star.days[0]["day"], star.days[-1]["day"]
    return f"{first}" if first == last else f"{first} to {last}"
