"""Estimate how long a load takes, from what past runs took."""

from collections.abc import Sequence
from dataclasses import dataclass

_FEWEST_RUNS = 3
# Runs tell what a byte takes if the largest read so many times what the smallest did.
_SPREAD = 2.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a load takes: a fixed part, and one in proportion to the bytes it reads.

    Attributes:
        seconds: both together.
        fixed: seconds that every run takes, however little it reads.
        runs: how many past runs it is drawn from.
    """

    seconds: float
    fixed: float
    runs: int


def estimate(past: Sequence[tuple[int, float]], size: int) -> Estimate | None:
    """Estimate how long it takes to read a number of bytes; None if history says too little.

    A line is fitted to the past runs, so that the sum of squared relative errors is smallest:
    a long run counts no more than a short one. Neither of its parts is negative.

    Args:
        past: bytes read and seconds taken, of each run.
        size: bytes to read.
    """
    sizes = [bytes_ for bytes_, _ in past]
    if len(past) < _FEWEST_RUNS or max(sizes) < _SPREAD * min(sizes) or not max(sizes):
        return None
    weights = [1 / seconds**2 for _, seconds in past]
    total = sum(weights)
    mean_size = sum(w * s for w, s in zip(weights, sizes, strict=True)) / total
    mean_seconds = sum(w * t for w, (_, t) in zip(weights, past, strict=True)) / total
    spread = sum(w * (s - mean_size) ** 2 for w, s in zip(weights, sizes, strict=True))
    joint = sum(
        w * (s - mean_size) * (t - mean_seconds) for w, (s, t) in zip(weights, past, strict=True)
    )
    slope = max(joint / spread, 0.0)
    fixed = mean_seconds - slope * mean_size
    if fixed < 0:
        fixed, slope = 0.0, mean_seconds / mean_size
    return Estimate(fixed + slope * size, fixed, len(past))
