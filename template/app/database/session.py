"""Sessions: one transaction for each request, stored before the answer leaves."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from app.context import current

Sessions = async_sessionmaker[AsyncSession]
Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

HALF = "A part of this transaction has failed; put what may fail into `async with session.begin_nested()`."


async def get_sessions(request: HTTPConnection) -> Sessions:
    sessions: Sessions = request.state.sessions
    return sessions


SessionsDep = Annotated[Sessions, Depends(get_sessions)]


async def get_session(sessions: SessionsDep) -> AsyncGenerator[AsyncSession]:
    """Commit where the endpoint returns, roll back where it raises, and then run what waited for the outcome."""
    context = current.get()
    try:
        async with sessions.begin() as session:
            yield session
            if not session.is_active:  # it would end without a commit, and without an error
                raise InvalidRequestError(HALF)
    except Exception:
        await context.settle(committed=False)
        raise
    await context.settle(committed=True)


# In the scope of the function: that of the request would commit when the answer has left.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]


async def get_read_session(sessions: SessionsDep) -> AsyncGenerator[AsyncSession]:
    """Connect at once, while a failure can still be answered."""
    async with sessions() as session:
        await session.connection(execution_options={"read_only": True})
        yield session


# In the scope of the request: it lives until the last byte of a streamed answer has left.
ReadSessionDep = Annotated[AsyncSession, Depends(get_read_session, scope="request")]


async def get_connect(request: HTTPConnection) -> Connect:
    """For a single read, outside of the request's transaction and without one of its own."""
    connect: Connect = request.state.connect
    return connect


ConnectDep = Annotated[Connect, Depends(get_connect)]
