"""Waiting for what others do: until it is so, and not for ever."""

import time
from collections.abc import Callable

# Far beyond what anything here takes: a test that gets there has failed.
PATIENCE_SECONDS = 60


def wait_until(is_so: Callable[[], object], otherwise: str | Callable[[], str]) -> None:
    """Ask again and again until the answer is yes.

    Raises:
        AssertionError: it took too long; it says what is amiss.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise() if callable(otherwise) else otherwise)
        time.sleep(0.01)
