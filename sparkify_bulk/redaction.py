"""Keep passwords out of all that leaves the process, and control characters off terminals."""

import logging
import re
from urllib.parse import quote

MASK = "***"
# Shorter ones would blot out words that have nothing to do with them.
_SHORTEST = 3
_IN_TEXT = re.compile(r"(?i)(password\s*=\s*|://[^\s:/@]*:)('(?:[^'\\]|\\.)*'|[^\s@'\"]+)")

_secrets: set[str] = set()


def learn(*secrets: str | None) -> None:
    """Take note of passwords that this process was given."""
    for secret in secrets:
        if secret and len(secret) >= _SHORTEST:
            _secrets.update((secret, quote(secret, safe="")))


def redact(text: str) -> str:
    """Return a text without the passwords that are known, or that look like one."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _IN_TEXT.sub(rf"\1{MASK}", text)


def holds_password(dsn: str) -> bool:
    """Tell whether a connection string seems to hold a password."""
    return _IN_TEXT.search(dsn) is not None


def printable(text: str) -> str:
    """Return a text on one line, without what a terminal would obey: it is escaped instead.

    Text from files and databases may hold anything.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Redacted(logging.Formatter):
    """Writes log records, tracebacks among them, without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text."""
        return redact(super().format(record))
