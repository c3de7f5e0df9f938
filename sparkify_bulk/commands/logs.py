"""Log records as JSON, one object a line, for programs that collect them."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from sparkify_bulk.redaction import printable_json, redact


class JsonLines(logging.Formatter):
    """Writes log records as JSON: `time` (UTC), `level`, `message`, and what comes with some.

    A record's own keys are those of its `fields`, handed over by `extra={"fields": {...}}`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            # Before it is JSON: there a password with quotes in it would look otherwise.
            "message": redact(record.getMessage()),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return printable_json(json.dumps(line, ensure_ascii=False, default=str))
