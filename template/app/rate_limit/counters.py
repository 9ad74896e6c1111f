"""Counting in sliding windows: what was in the last one counts as far as it still overlaps."""

from itertools import islice
from math import ceil, floor
from time import monotonic
from typing import NamedTuple, Protocol

from app.rate_limit.policies import Policy

MOST_BUCKETS = 100_000  # in each of two windows of a policy: 40 MB
DROPPED = 1000  # at once; finding the oldest takes the longer, the more of them have gone


class Count(NamedTuple):
    """What a bucket held after a request, or when it refused it; `elapsed` is in seconds since the window began."""

    policy: Policy
    bucket: str
    passed: bool
    window: int
    previous: int
    current: int
    elapsed: float

    @property
    def remaining(self) -> int:
        weight = self.previous * (1 - self.elapsed / self.policy.seconds) + self.current
        return max(floor(self.policy.requests - weight), 0)

    @property
    def reset(self) -> int:
        """Return the seconds until more is left than now."""
        seconds = self.policy.seconds
        weight = self.policy.requests - self.remaining - 1
        if self.current <= weight:  # what fades is from the last window
            at = seconds * (1 - (weight - self.current) / self.previous)
        else:
            at = seconds + seconds * (1 - weight / self.current)
        return max(ceil(at - self.elapsed), 1)


class Counters(Protocol):
    async def count(self, policy: Policy, bucket: str, *, instead_of: Count | None = None) -> Count | None:
        """Count a request, unless it is one too many, and take back the one that it was counted as before.

        `None` is for who cannot count now.
        """


class Windows:
    """The counts of one policy."""

    __slots__ = ("current", "previous", "window")

    def __init__(self) -> None:
        self.window = -1
        self.current: dict[str, int] = {}
        self.previous: dict[str, int] = {}

    def turn(self, window: int) -> None:
        self.previous = self.current if window == self.window + 1 else {}
        self.current = {}
        self.window = window

    def add(self, bucket: str, count: int) -> None:
        if len(self.current) >= MOST_BUCKETS and bucket not in self.current:
            for oldest in list(islice(self.current, DROPPED)):
                del self.current[oldest]
        self.current[bucket] = count

    def take_back(self, count: Count) -> None:
        counts = {self.window: self.current, self.window - 1: self.previous}.get(count.window, {})
        if counts.get(count.bucket, 0) > 0:
            counts[count.bucket] -= 1


class MemoryCounters:
    """In this process, and no longer than it lives."""

    def __init__(self) -> None:
        self.policies: dict[str, Windows] = {}

    async def count(self, policy: Policy, bucket: str, *, instead_of: Count | None = None) -> Count:
        windows = self.policies.get(policy.name)
        if windows is None:
            windows = self.policies[policy.name] = Windows()
        window, elapsed = divmod(monotonic(), policy.seconds)
        if window != windows.window:
            windows.turn(int(window))
        if instead_of is not None:
            windows.take_back(instead_of)
        previous, current = windows.previous.get(bucket, 0), windows.current.get(bucket, 0)
        passed = previous * (1 - elapsed / policy.seconds) + current + 1 <= policy.requests
        if passed:
            current += 1
            windows.add(bucket, current)
        return Count(policy, bucket, passed, windows.window, previous, current, elapsed)
