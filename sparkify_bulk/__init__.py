"""Load trees of JSON into a PostgreSQL star schema, fast and complete, or nothing at all.

>>> import sparkify_bulk
>>> report = sparkify_bulk.reload("data", dsn="postgresql:///music")  # doctest: +SKIP
>>> report.tables["songplays"].rows  # doctest: +SKIP
2110
"""

from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sparkify_bulk.settings import DEFAULT_SCHEMA

if TYPE_CHECKING:
    import polars as pl

    from sparkify_bulk.report import Report
    from sparkify_bulk.settings import Settings

__version__ = "0.1.0"
__all__ = ["Options", "ask", "load", "reload"]


class Options(TypedDict, total=False):
    """What both commands take; see `sparkify_bulk.settings.Settings` for what each means."""

    songs: str | PathLike[str] | None
    logs: str | PathLike[str] | None
    dsn: str | None
    schema: str
    jobs: int
    max_rejects: int | None
    max_shrink: float
    max_age: timedelta | None
    create_database: bool
    wait: float
    retries: int
    rehash: bool
    follow_links: bool
    drop_dependents: bool
    switch_patience: float


def reload(data: str | PathLike[str] | None = None, **options: Unpack[Options]) -> "Report":
    """Build the star anew from all files, and let it replace the old one at once.

    Args:
        data: the folder that holds `song_data/` and `log_data/`.
        options: as the command's.

    Raises:
        sparkify_bulk.errors.SparkifyBulkError: the run failed; the old star is untouched.
    """
    return _run("reload", data, options)


def load(data: str | PathLike[str] | None = None, **options: Unpack[Options]) -> "Report":
    """Merge new and changed files into the live star.

    Args:
        data: the folder that holds `song_data/` and `log_data/`.
        options: as the command's.

    Raises:
        sparkify_bulk.errors.SparkifyBulkError: the run failed; the star is untouched.
    """
    return _run("load", data, options)


def ask(question: str, *, dsn: str | None = None, schema: str = DEFAULT_SCHEMA) -> "pl.DataFrame":
    """Return the answer to one of the star's questions as a Polars frame.

    Args:
        question: as `sparkify-bulk show` names it, e.g. `most_played_songs`.
        dsn: libpq connection string or URL; None for what the command would use.
        schema: where the star lives.

    Raises:
        sparkify_bulk.errors.SparkifyBulkError: no such question, no star, or no server.
    """
    from sparkify_bulk import query  # noqa: PLC0415 - `--version` needs none of this

    return query.frame(question, dsn, schema)


def _run(command: str, data: str | PathLike[str] | None, options: Options) -> "Report":
    from sparkify_bulk.source.manifest import begin_listing  # noqa: PLC0415 - `--version` needs none of this

    settings = _settings(data, options)
    with begin_listing(settings, read=command == "reload") as listers:
        from sparkify_bulk import pipeline  # noqa: PLC0415 - takes as long as to list many files

        story = pipeline.reload if command == "reload" else pipeline.load
        return story(settings, listers=listers)


def _settings(data: str | PathLike[str] | None, options: Options) -> "Settings":
    from sparkify_bulk.settings import Settings  # noqa: PLC0415 - as above
    from sparkify_bulk.source.input import input_folders  # noqa: PLC0415 - as above

    named = (data, options.get("songs"), options.get("logs"))
    songs, logs = input_folders(*(address or None for address in named))
    given: dict[str, Any] = {**options, "songs": songs, "logs": logs}
    return Settings(**given)
