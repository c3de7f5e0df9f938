"""Keep passwords out of all that leaves the process, and control characters off terminals."""

import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
# Shorter ones would blot out words that have nothing to do with them.
_SHORTEST = 3
# A text in single quotes; one that isn't closed reaches to the end of its line.
_QUOTED = r"'(?:[^'\\\n]|\\.|'')*(?:'|$)"
# Where a password stands: behind its keyword, in SQL, and in a URL between the user and an @. What
# is masked may be more than the password, but is never less.
_IN_TEXT = re.compile(
    rf"""(?imx)
    (?P<keyword> password \s* = \s* ) (?: {_QUOTED} | \S+ )
    | (?P<sql> \b password \s+ ) (?: e? {_QUOTED} | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
    | (?P<user> ://[^\s:/@]*: ) \S+ (?= @ )
    """
)
# Shorter passwords of one kind of character are words or numbers like any others.
_ORDINARY = re.compile(r"[a-z]{1,11}|[A-Z]{1,11}|[A-Z][a-z]{1,10}|\d{1,11}")

_secrets: set[str] = set()


def learn(*secrets: str | None, beside: Iterable[str] = ()) -> None:
    """Take note of passwords that this process was given; they are masked wherever they stand.

    A password that is an ordinary word, or a part of what else is known of the connection, isn't
    masked everywhere: where user and password are `postgres`, it would blot out role and database.
    It is still masked where a password stands.

    Args:
        secrets: the passwords.
        beside: user, database, host, and whatever else isn't secret.
    """
    known = [text.lower() for text in beside]
    for secret in secrets:
        if not secret or len(secret) < _SHORTEST or _ORDINARY.fullmatch(secret):
            continue
        if not any(secret.lower() in text for text in known):
            _secrets.update((secret, quote(secret, safe="")))


def redact(text: str) -> str:
    """Return a text without passwords: those that are known, and whatever stands for one."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _IN_TEXT.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    return f"{found['keyword'] or found['sql'] or found['user']}{MASK}"


def holds_password(dsn: str) -> bool:
    """Tell whether a connection string seems to hold a password."""
    return _IN_TEXT.search(dsn) is not None


def printable(text: str) -> str:
    """Return a text on one line, without what a terminal would obey: it is escaped instead.

    Text from files and databases may hold anything.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Return a text without what a terminal would obey; its lines stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(document: str) -> str:
    """Return JSON that says the same without what a terminal would obey; its lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in document)


class Redacted(logging.Formatter):
    """Writes log records, tracebacks among them, without passwords, and each message on one line.

    Names of files, and what programs and servers say, may hold anything.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        """Return the record's line."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text, with what comes below its line."""
        return printable_lines(redact(super().format(record)))
