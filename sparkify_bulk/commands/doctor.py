"""The command that looks at everything a run needs, before one is begun."""

from datetime import timedelta

import click

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.options import DATA, JSON, MAX_AGE, TARGET, options


@click.command(short_help="Check what would make a run fail.")
@options(*DATA, *TARGET, MAX_AGE, JSON)
def doctor(
    *,
    data: str | None,
    songs: str | None,
    logs: str | None,
    follow_links: bool,
    dsn: str | None,
    schema: str,
    max_age: timedelta | None,
    as_json: bool,
) -> int:
    """Check server, database, star and input for what would make a run fail. Writes nothing.

    A line a check: ok, warning, failure, or not asked where something that it needs is missing;
    and a hint where there is something to do. Exit 0 if nothing fails, 4 if the server can't be
    reached, 7 if only --max-age is exceeded, else 1.

    Example: sparkify-bulk doctor data --max-age 36h
    """
    from sparkify_bulk.commands import tables
    from sparkify_bulk.doctor.checks import diagnose
    from sparkify_bulk.source.stores import join

    diagnosis = diagnose(
        dsn=dsn,
        schema=schema,
        songs=songs or (data and join(data, "song_data")),
        logs=logs or (data and join(data, "log_data")),
        follow_links=follow_links,
        max_age=max_age,
    )
    if as_json:
        streams.write_line(diagnosis.to_dict())
    else:
        tables.console().print(tables.diagnosis(diagnosis))
    return diagnosis.exit_code
