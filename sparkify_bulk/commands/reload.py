"""The command that rebuilds the star."""

from typing import Any

import click

from sparkify_bulk.commands.inputs import RUN, run
from sparkify_bulk.commands.options import (
    DROP_DEPENDENTS,
    FOLLOW_UPS,
    SWITCH_PATIENCE,
    TALK,
    options,
)


@click.command(short_help="Rebuild the star from all files.")
@options(*RUN, DROP_DEPENDENTS, SWITCH_PATIENCE, *FOLLOW_UPS, *TALK)
def reload(**options: Any) -> int:
    """Rebuild the star from all files; it replaces the old one in one step.

    DATA is a folder, or the address of a bucket (s3://, gs://, az://), with song_data/ and
    log_data/ below it.

    Example: sparkify-bulk reload data
    """
    return run("reload", **options)
