"""A service with a low limit, which counts in memory and, in another run of the same test, in Redis."""

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket

from app.context import current
from app.rate_limit import limit

router = APIRouter(prefix="/tests")


async def identify(request: Request) -> None:
    """Believe who the caller says they are, as a feature does that has checked it."""
    if name := request.headers.get("x-tests-name"):
        await current.get().identify(name, frozenset())


@router.get("/orders", dependencies=[Depends(identify)])
async def list_orders() -> None: ...


@router.get("/prints", dependencies=[Depends(identify), limit("tests-prints", "2/minute")])
async def print_orders() -> None: ...


@router.get("/late-prints", dependencies=[limit("tests-prints", "2/minute"), Depends(identify)])
async def print_orders_of_whom_is_known_late() -> None: ...


@router.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@pytest.fixture(params=["memory", "redis"])
def counted(request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all of the service count in either."""
    monkeypatch.setenv("RATE_LIMIT_DEFAULT", "3/minute")
    if request.param == "redis":
        monkeypatch.setenv("RATE_LIMIT_URL", redis_url)


@pytest.fixture
def app(counted: None, app: FastAPI) -> FastAPI:
    app.include_router(router)
    return app
