"""The command that merges new files into the star."""

from typing import Any

import click

from sparkify_bulk.commands.inputs import RUN, run
from sparkify_bulk.commands.options import (
    FOLLOW_UPS,
    REHASH,
    TALK,
    options,
)


@click.command(short_help="Merge new and changed files into the star.")
@options(*RUN, REHASH, *FOLLOW_UPS, *TALK)
def load(**options: Any) -> int:
    """Merge new and changed files into the live star.

    DATA is a folder, or the address of a bucket (s3://, gs://, az://), with song_data/ and
    log_data/ below it. Files whose size and time of change are as the ledger has them aren't read;
    records that are there already change nothing.

    Example: sparkify-bulk load data --dsn service=warehouse
    """
    return run("load", **options)
