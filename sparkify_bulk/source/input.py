"""Where the input of a run is: the trees of songs and logs, named apart or below DATA."""

from os import PathLike

from sparkify_bulk.errors import UsageError
from sparkify_bulk.source.stores import join, open_store

EXPECTED_FOLDERS = (
    "Expected song_data/ and log_data/ in DATA. "
    "If they are elsewhere, use --songs DIR and --logs DIR."
)

# What to do where there is nothing to read.
EXPECTED_FILES = (
    "file names must end in .json, .jsonl or .ndjson, optionally followed by .gz or .zst"
)

Address = str | PathLike[str]


def input_folders(
    data: Address | None, songs: Address | None, logs: Address | None
) -> tuple[str | None, str | None]:
    """Return the addresses of songs and logs: named apart, or below DATA.

    Raises:
        UsageError: nothing is named, or DATA doesn't hold both.
    """
    if data is None and songs is None and logs is None:
        raise UsageError(
            "no input: name DATA, --songs or --logs", hint="see sparkify-bulk reload --help"
        )
    named = {"song_data": songs, "log_data": logs}
    if data is not None:
        if missing := open_store(data).missing():
            raise UsageError(missing, hint="name the folder that holds song_data/ and log_data/")
        lacking = [
            f"{name}/"
            for name, address in named.items()
            if address is None and open_store(join(data, name)).missing()
        ]
        if lacking:
            raise UsageError(
                f"the folder {open_store(data).address} has no {' and no '.join(lacking)}",
                hint=EXPECTED_FOLDERS,
            )
        named = {name: join(data, name) if at is None else at for name, at in named.items()}
    found = [None if at is None else open_store(at).address for at in named.values()]
    return found[0], found[1]
