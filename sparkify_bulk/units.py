"""Numbers for people to read, each with its unit: counts, sizes, rates, shares, spans of time."""

from datetime import timedelta

_MIB, _GIB = 2**20, 2**30
# What rounds to a minute, in seconds.
_MINUTE = 59.95


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2,110 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def thousands(rate: float) -> str:
    """Return a rate in thousands or millions where it is that large: 950, 1.5k, 2.0M."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if rate >= unit:
            return f"{rate / unit:.1f}{name}"
    return f"{rate:.0f}"


def tick(number: float) -> str:
    """Return a number as short as it can be for the tick of a scale: 950, 1.5k, 2M."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"


def readable_size(size: int) -> str:
    """Return a number of bytes in the unit that suits its size."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        # What would be rounded to 1000.0 of the smaller unit is 1.0 of this one.
        if size >= 0.99995 * unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def setting_size(size: int) -> str:
    """Return a number of bytes as PostgreSQL's settings are written: 4GB, 1536MB."""
    return f"{size // _GIB}GB" if size % _GIB == 0 else f"{size // _MIB}MB"


def share(part: int, whole: int) -> str:
    """Return a share in percent; never 0 of something, nor all of not everything."""
    if not whole:
        return "none"
    percent = 100 * part / whole
    if 0 < percent < 0.1:  # noqa: PLR2004
        return "< 0.1 %"
    if 99.9 < percent < 100:  # noqa: PLR2004
        return "> 99.9 %"
    return f"{percent:.1f} %" if 0 < part < whole else f"{percent:.0f} %"


def show_age(age: timedelta) -> str:
    """Return a span of time as an option takes it: 36h or 90m."""
    minutes = round(age.total_seconds() / 60)
    return f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"


def span(seconds: float) -> str:
    """Return a span of time in whole ones of the unit that suits it: 45 s, 3 h, 12 days."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def duration(seconds: float) -> str:
    """Return how long something took: 1.8 s, 2 min 05 s, 1 h 20 min."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def brief(seconds: float) -> str:
    """Return how long something short took: 12 ms, 1.8 s."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
