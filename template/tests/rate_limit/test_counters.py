"""What counts, for how long, and how much room that takes."""

import random
from collections.abc import Callable

import pytest

from app.rate_limit import counters
from app.rate_limit.counters import Count, MemoryCounters
from app.rate_limit.policies import Policy, Rate

TEN = Policy("tests", Rate(10, "minute"))


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Turn the clock; windows begin with a minute."""

    def turn(seconds: float) -> None:
        monkeypatch.setattr(counters, "monotonic", lambda: 6000 + seconds)

    turn(0)
    return turn


async def count(memory: MemoryCounters, times: int, bucket: str = "a") -> list[Count]:
    return [await memory.count(TEN, bucket) for _ in range(times)]


@pytest.mark.parametrize(
    ("before", "then", "passed"),
    [
        (10, 59.9, 0),
        (10, 60, 0),
        (10, 65.9, 0),
        (10, 66, 1),
        (10, 90, 5),
        (10, 119.9, 9),
        (10, 120, 10),
        (10, 600, 10),
        (4, 59.9, 6),
        (4, 60, 6),
        (4, 90, 8),
    ],
)
async def test_the_last_window_counts_as_far_as_it_overlaps(
    at: Callable[[float], None], before: int, then: float, passed: int
) -> None:
    memory = MemoryCounters()
    await count(memory, before)

    at(then)
    counted = await count(memory, 20)

    assert sum(count.passed for count in counted) == passed


@pytest.mark.parametrize(
    ("before", "then", "remaining", "reset"),
    [(0, 0, 9, 120), (9, 0, 0, 66), (10, 0, 0, 66), (10, 30, 0, 36), (10, 66, 0, 6), (5, 60, 4, 12), (0, 59.5, 9, 61)],
)
async def test_a_count_says_when_there_is_more(
    at: Callable[[float], None], before: int, then: float, remaining: int, reset: int
) -> None:
    memory = MemoryCounters()
    await count(memory, before)

    at(then)
    (last,) = await count(memory, 1)

    assert (last.remaining, last.reset) == (remaining, reset)


@pytest.mark.parametrize("seed", range(20))
async def test_who_waits_as_long_as_told_gets_more_and_nobody_gets_too_much(
    at: Callable[[float], None], seed: int
) -> None:
    memory, chance, seconds = MemoryCounters(), random.Random(seed), 0.0
    passed: list[float] = []
    for _ in range(200):
        seconds += chance.expovariate(0.3)
        at(seconds)
        (last,) = await count(memory, 1)
        if last.passed:
            passed.append(seconds)
        if not last.passed and chance.random() < 0.2:
            seconds += last.reset
            at(seconds)
            (later,) = await count(memory, 1)
            assert later.passed
            passed.append(seconds)

    in_window = [sum(1 for then in passed if then // 60 == window) for window in range(int(seconds // 60) + 1)]
    assert 8 <= max(in_window) <= 10


async def test_a_unit_is_taken_back_from_the_window_that_it_was_counted_in(at: Callable[[float], None]) -> None:
    memory = MemoryCounters()
    (*_, last) = await count(memory, 10)

    at(60)
    await memory.count(TEN, "b", instead_of=last)

    (first, second) = await count(memory, 2)
    assert (first.previous, first.passed, second.passed) == (9, True, False)


async def test_what_has_faded_is_not_taken_back(at: Callable[[float], None]) -> None:
    memory = MemoryCounters()
    (*_, last) = await count(memory, 3)

    at(180)
    await memory.count(TEN, "b", instead_of=last)
    (first,) = await count(memory, 1)

    assert (first.previous, first.current) == (0, 1)


async def test_a_flood_of_callers_takes_no_more_room_than_there_is(
    at: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MOST_BUCKETS", 5000)
    memory = MemoryCounters()
    for number in range(20_000):
        await memory.count(TEN, f"{number}")
    at(60)
    for number in range(20_000):
        await memory.count(TEN, f"{number}")

    windows = memory.policies["tests"]
    assert len(windows.current) <= 5000
    assert len(windows.previous) <= 5000
    assert "19999" in windows.current
