"""What a run is asked to do: one frozen value, validated once, all violations reported together."""

import os
import re
import resource
from dataclasses import dataclass, field
from datetime import timedelta
from os import PathLike

from sparkify_bulk.errors import UsageError

DEFAULT_SCHEMA = "sparkify"
# What threads, allocators and libraries reserve before a file is read; little of it is ever used. A
# run of two workers aborts at 800 MB, and goes well at 1,200.
_LEAST_ADDRESS_SPACE = 1024 * 2**20
SCHEMA_PATTERN = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_IDENTIFIER_BYTES = 63
# A week; PostgreSQL counts milliseconds in 32 bits.
_LONGEST_WAIT_SECONDS = 604_800
# What the schemas beside a star are for; each is named after the star and this.
_BESIDE = ("build", "staging", "ledger")
DEFAULT_RETRIES = 3
DEFAULT_SWITCH_PATIENCE = 120.0
DEFAULT_MAX_SHRINK = 0.2
# The pauses before them double from 2 s: an hour in all.
_MOST_RETRIES = 10


def default_jobs() -> int:
    """Return how many workers the processors at hand can feed."""
    return min(8, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is asked to do.

    Attributes:
        songs: the tree of song files; None to load none.
        logs: the tree of event logs; None to load none.
        dsn: libpq connection string or URL; None for libpq's own environment, or the embedded
            PostgreSQL where that names nothing.
        schema: where the star lives.
        jobs: parallel workers.
        max_rejects: more rejects than this end the run, star untouched; None for no limit.
        max_shrink: a reload that leaves songplays, songs or users smaller by more than this share
            ends, star untouched; 1 switches the check off.
        max_age: the star is stale if its newest event is older than this; None for no limit.
        create_database: make the database if it doesn't exist.
        drop_dependents: a reload drops the dependent objects that it can't carry over.
        switch_patience: seconds a reload waits for readers of the old star before it gives up.
        follow_links: follow symbolic links below the folders.
        wait: seconds to wait for another run on the star to end; 0 to give up at once.
        retries: how often to retry after a transient database error, such as a restart.
        rehash: a load reads files that look unchanged, too, and compares their content.

    Raises:
        UsageError: one or more settings can't be; the message names them all.
    """

    songs: str | PathLike[str] | None
    logs: str | PathLike[str] | None
    dsn: str | None = field(default=None, repr=False)
    schema: str = DEFAULT_SCHEMA
    jobs: int = field(default_factory=default_jobs)
    max_rejects: int | None = None
    max_shrink: float = DEFAULT_MAX_SHRINK
    max_age: timedelta | None = None
    create_database: bool = False
    wait: float = 0.0
    retries: int = DEFAULT_RETRIES
    rehash: bool = False
    follow_links: bool = False
    drop_dependents: bool = False
    switch_patience: float = DEFAULT_SWITCH_PATIENCE

    def __post_init__(self) -> None:
        """Report every violation at once."""
        wrong: list[str] = []
        wrong += _schema_violations(self.schema)
        if self.jobs < 1:
            wrong.append("--jobs must be at least 1")
        if self.max_rejects is not None and self.max_rejects < 0:
            wrong.append("--max-rejects can't be negative")
        if not 0 <= self.max_shrink <= 1:
            wrong.append("--max-shrink must be a share from 0 to 1")
        if not 0 <= self.retries <= _MOST_RETRIES:
            wrong.append(f"--retries must be 0 to {_MOST_RETRIES}")
        if not 0 <= self.wait <= _LONGEST_WAIT_SECONDS:
            wrong.append(f"--wait must be 0 to {_LONGEST_WAIT_SECONDS} seconds")
        if not 0 <= self.switch_patience <= _LONGEST_WAIT_SECONDS:
            wrong.append(f"--switch-patience must be 0 to {_LONGEST_WAIT_SECONDS} seconds")
        if wrong:
            raise UsageError("; ".join(wrong), hint="see sparkify-bulk --help")


def check_schema(schema: str) -> None:
    """Refuse what can't name a star's schema.

    Raises:
        UsageError: says why.
    """
    if wrong := _schema_violations(schema):
        raise UsageError("; ".join(wrong), hint="see sparkify-bulk --help")


def _schema_violations(schema: str) -> list[str]:
    if not SCHEMA_PATTERN.fullmatch(schema):
        return ["--schema must be 1 to 63 of a-z, 0-9 and _, and not begin with a digit"]
    if schema.startswith("pg_") or schema in ("information_schema", "public"):
        return [f"--schema can't be {schema}: name a schema of the star's own"]
    if schema.endswith(tuple(f"_{word}" for word in _BESIDE)):
        words = ", ".join(f"_{word}" for word in _BESIDE)
        return [f"--schema can't be {schema}: names that end in {words} stand beside other stars"]
    return []


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas of one star: the star itself, and what stands beside it."""

    star: str
    build: str
    staging: str
    ledger: str

    def mark(self, what: str) -> str:
        """Return the comment that everything the product makes beside the star bears.

        Args:
            what: of which run it is, for people; any text, or none, makes a mark.
        """
        return f"made by sparkify_bulk for the star {self.star}, {what}"


def schemas(star: str) -> Schemas:
    """Return the names of a star's schemas."""
    check_schema(star)
    return Schemas(star, *(_beside(star, word) for word in _BESIDE))


def _beside(star: str, word: str) -> str:
    """Name a schema after a star; PostgreSQL would cut a name over 63 bytes without a word."""
    name = f"{star}_{word}"
    if len(name) > _IDENTIFIER_BYTES:
        raise UsageError(
            f"--schema {star} is too long: {name} is not a name PostgreSQL keeps whole",
            hint=f"use at most {_IDENTIFIER_BYTES - len('_staging')} characters",
        )
    return name


def check_memory() -> None:
    """Refuse a limit on the address space in which the libraries abort instead of failing.

    Raises:
        UsageError: the limit is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE:
        raise UsageError(
            f"the address space is limited to {limit // 2**20} MB, "
            f"less than the {_LEAST_ADDRESS_SPACE // 2**20} MB that a run reserves",
            hint="raise it with ulimit -v unlimited; to limit the memory that is really used, "
            "use --jobs 1, and a cgroup (MemoryMax= in systemd, --memory in Docker)",
        )
