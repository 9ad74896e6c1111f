"""What one connection may have: so many rooms, and so many messages in a second."""

import pytest
from httpx2 import AsyncClient
from httpx2.websockets import AsyncWebSocketSession, WebSocketDisconnect
from starlette.status import WS_1008_POLICY_VIOLATION

from tests.fixtures.websockets import URL, connect, hear_nothing, say, subscribe, until_closed
from tests.websockets.conftest import make_app
from tests.websockets.rooms import LOBBY, NEWS

ORDER = "tests-orders:018f5b1e-7c2a-7000-8000-000000000001"


async def test_a_connection_is_in_so_many_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSOCKETS_ROOMS_PER_CONNECTION", "2")
    async with connect(make_app()) as client, client.websocket(URL) as socket:
        await subscribe(socket, LOBBY)
        await subscribe(socket, NEWS)

        error = await say(socket, "subscribe", room=ORDER, id="1")
        again = await say(socket, "subscribe", room=NEWS)
        await say(socket, "unsubscribe", room=NEWS)
        after = await say(socket, "subscribe", room=ORDER)

        assert (error["type"], error["code"], error["id"]) == ("error", "too_many_rooms", "1")
        assert (again["type"], after["type"]) == ("subscribed", "subscribed")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is, in seconds."""
    times = [0.0]
    monkeypatch.setattr("app.websockets.allowance.monotonic", lambda: times[0])
    return times


async def send(
    socket: AsyncWebSocketSession, number: int, *, pause: tuple[list[float], float] = ([0.0], 0)
) -> list[str]:
    """Return how so many messages were answered, or it ended; a pause on the clock stands after each."""
    clock, seconds = pause
    answers: list[str] = []
    try:
        for _ in range(number):
            answer = await say(socket, "ping")
            answers.append(answer.get("code", answer["type"]))
            clock[0] += seconds
    except WebSocketDisconnect as ended:
        answers.append(str(int(ended.code)))
    return answers


async def test_too_many_messages_are_refused_and_then_it_ends(clock: list[float], sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        answers = await send(socket, 41)

        assert answers == ["pong"] * 20 + ["rate_limited"] * 21
        assert await until_closed(socket) == WS_1008_POLICY_VIOLATION


async def test_whoever_goes_on_at_twice_the_rate_does_not_stay(clock: list[float], sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        answers = await send(socket, 100, pause=(clock, 1 / 40))

        assert answers.count("rate_limited") == 21
        assert answers[-1] == str(WS_1008_POLICY_VIOLATION)


async def test_a_pause_makes_it_good_again(clock: list[float], sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as socket:
        before = await send(socket, 30)
        clock[0] += 0.1
        between = await send(socket, 3)
        clock[0] += 3600
        after = await send(socket, 21)

        assert before == ["pong"] * 20 + ["rate_limited"] * 10
        assert between == ["pong", "pong", "rate_limited"]
        assert after == ["pong"] * 20 + ["rate_limited"]


async def test_a_message_that_is_refused_does_nothing(clock: list[float], sockets: AsyncClient) -> None:
    async with sockets.websocket(URL) as first, sockets.websocket(URL) as second:
        await subscribe(second, LOBBY)
        await send(first, 20)

        answer = await say(first, "publish", room=LOBBY, data="hi")

        assert answer["code"] == "rate_limited"
        await hear_nothing(second)
