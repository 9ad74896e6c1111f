"""Many ask on one connection, and each has the answer to their own question."""

import asyncio
from time import monotonic

import pytest

from app.redis import Connection, RedisUnavailable, Server
from tests.fixtures.redis import until_back
from tests.redis.conftest import Echo, ask


async def test_of_many_at_once_everybody_has_their_own_answer(redis_server: Server) -> None:
    texts = [f"{number}" for number in range(500)]

    answers = await asyncio.gather(*(ask(redis_server, text) for text in texts))

    assert answers == [text.encode() for text in texts]


async def test_who_is_broken_off_takes_nobodys_answer(echo_server: Server, echo: Echo) -> None:
    echo.speaks.clear()
    askers = [asyncio.create_task(ask(echo_server, text)) for text in "abc"]
    await asyncio.sleep(0.01)  # until they are sent

    askers[1].cancel()
    echo.speaks.set()
    answers = await asyncio.gather(*askers, return_exceptions=True)

    assert answers[::2] == [b"a", b"c"]
    assert isinstance(answers[1], asyncio.CancelledError)


async def test_an_answer_that_is_late_is_given_to_nobody(echo_server: Server, echo: Echo) -> None:
    echo.speaks.clear()
    with pytest.raises(RedisUnavailable):
        await ask(echo_server, "late")

    echo.speaks.set()
    await until_back(echo_server)

    assert await ask(echo_server, "new") == b"new"


async def test_patience_begins_with_the_question(echo_server: Server, echo: Echo) -> None:
    echo.delay = 0.02

    answers = [await ask(echo_server, text) for text in "abcdefgh"]

    assert answers == [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"]


async def test_a_refusal_is_for_the_one_who_is_refused(redis_server: Server) -> None:
    async def increase(text: str) -> object:
        return await redis_server.ask(lambda redis: redis.send("INCRBY", "a", text))

    first, refused, last = await asyncio.gather(*map(increase, ["1", "text", "2"]), return_exceptions=True)

    assert (first, last) == (1, 3)
    assert isinstance(refused, RedisUnavailable)


async def test_what_cannot_be_sent_is_an_error_and_harms_nobody(redis_server: Server) -> None:
    async def send_nothing(redis: Connection) -> None:
        await redis.send("SET", "a", None)  # type: ignore[arg-type]  # what Redis has no form for

    answers = await asyncio.gather(ask(redis_server, "a"), redis_server.ask(send_nothing), return_exceptions=True)

    assert answers[0] == b"a"
    assert await ask(redis_server, "b") == b"b"


async def test_all_who_wait_for_a_silent_server_wait_together(echo_server: Server, echo: Echo) -> None:
    echo.speaks.clear()
    started = monotonic()

    answers = await asyncio.gather(*(ask(echo_server, "a") for _ in range(200)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {RedisUnavailable}
    assert monotonic() - started < 1


async def test_a_silent_server_that_takes_nothing_more_is_no_longer_waited_for(echo_server: Server, echo: Echo) -> None:
    echo.speaks.clear()

    with pytest.raises(RedisUnavailable):
        await ask(echo_server, "a" * 20_000_000)  # more than fits in between


async def test_a_busy_process_does_not_take_its_own_delay_for_silence(redis_server: Server) -> None:
    async def ask_and_work() -> object:
        answer = await ask(redis_server, "a")
        until = monotonic() + 0.002
        while monotonic() < until:
            pass
        return answer

    answers = await asyncio.gather(*(ask_and_work() for _ in range(100)))

    assert answers == [b"a"] * 100


async def test_a_process_that_stands_still_does_not_take_that_for_silence(redis_server: Server) -> None:
    asking = asyncio.create_task(ask(redis_server, "a"))
    await asyncio.sleep(0)

    until = monotonic() + 0.2
    while monotonic() < until:
        pass

    assert await asking == b"a"


async def test_who_still_waits_when_the_service_ends_is_told_at_once(echo_url: str, echo: Echo) -> None:
    async with Server(echo_url, "tests") as server:
        echo.speaks.clear()
        asking = asyncio.create_task(ask(server, "a"))
        await asyncio.sleep(0)

    assert asking.done()
    with pytest.raises(RedisUnavailable):
        await asking
