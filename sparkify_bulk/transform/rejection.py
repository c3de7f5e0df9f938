"""Why a record is refused."""

# Why a record, or a whole file, is refused: the codes that docs/rules.md explains.
REASONS = (
    "malformed_json",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "unstorable_text",
    "unreadable_file",
)


class Rejection(Exception):  # noqa: N818 - the word for what befalls a record, not an error of a run
    """A record is refused; caught where its place in the file is known.

    Args:
        reason: reason code, one of those in `docs/rules.md`.
        detail: one sentence for a person; never quotes a value.
        column: the JSON key at fault, if one is.
    """

    def __init__(self, reason: str, detail: str, column: str | None = None) -> None:
        """Say why."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.column = column
