"""Closes the connections of those who are not signed in any more, and sees to what the others may still do."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic, time
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import select
from starlette.status import WS_1011_INTERNAL_ERROR
from structlog.stdlib import get_logger

from app.auth import SignedIn, User
from app.auth.identity import remember
from app.auth.models import UserSession
from app.context import current
from app.database import Connect
from app.feature import State, add_lifespan
from app.websockets.hub import Hub, Member

logger = get_logger()

PAUSE = 2.0  # seconds
LOOK_SECONDS = 2.0  # for the database
REVIEWS_SECONDS = 1.0  # in which reviews begin; whoever is left is reviewed the next time
REVIEW_SECONDS = 1.0  # for the rooms of one connection
AT_ONCE = 500  # sessions in one question
SESSION_ENDED = 4401  # the counterpart of 401; those from 4000 on are ours (RFC 6455, section 7.4.2)


async def find_roles(connect: Connect, session_ids: Sequence[UUID]) -> Mapping[UUID, list[str]]:
    """Return the roles of those whose session goes on."""
    statement = (
        select(UserSession.id, User.roles)
        .join(User, User.id == UserSession.user_id)
        .where(
            User.is_active,
            UserSession.id.in_(session_ids),
            UserSession.ended_at.is_(None),
            UserSession.expires_at > datetime.now(UTC),
        )
    )
    async with connect() as connection:
        return dict((await connection.execute(statement)).all())


async def review(member: Member, user: SignedIn) -> None:
    """Have the rooms ask again, in the context of the connection; whom they cannot judge does not stay."""
    token = current.set(member.context)
    try:
        remember(member.context, user)
        async with asyncio.timeout(REVIEW_SECONDS):
            await member.review()
    except Exception:  # whatever it is, the next one has to be looked at too
        logger.exception("websockets.review_failed")
        member.end(WS_1011_INTERNAL_ERROR, "The service failed. Its log tells why.", at_once=True)
    finally:
        current.reset(token)


async def look(members: Sequence[tuple[Member, SignedIn]], connect: Connect) -> None:
    for member, user in members:
        if user.expires_at <= time():
            member.end(SESSION_ENDED, "The token that it was opened with has expired.", at_once=True)
    changed: list[tuple[Member, SignedIn]] = []
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            for start in range(0, len(members), AT_ONCE):
                some = members[start : start + AT_ONCE]
                roles = await find_roles(connect, [user.session_id for _, user in some])
                for member, user in some:
                    if user.session_id not in roles:
                        member.end(SESSION_ENDED, "The session has ended.", at_once=True)
                    elif roles[user.session_id] != user.roles:
                        changed.append((member, replace(user, roles=roles[user.session_id])))
    finally:  # what has been found is true, though it is not all
        until = monotonic() + REVIEWS_SECONDS
        for member, user in changed:
            if monotonic() < until:
                await review(member, user)


async def watch(hub: Hub, opened: Callable[[], Connect]) -> None:
    """Look again and again; while the database does not answer, a session is taken to go on, a token still expires."""
    while True:
        await asyncio.sleep(PAUSE)
        members = [(member, user) for member in hub.members if isinstance(user := member.context.principal, SignedIn)]
        random.shuffle(members)  # who was last, and was not reached, is not last again
        try:
            await look(members, opened())
        except Exception as error:  # whatever it is, else nobody would look any more
            logger.warning("websockets.sessions_unknown", error=repr(error)[:200])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
    task = asyncio.create_task(watch(app.state.websockets, lambda: app.state.opened["connect"]))
    yield {}
    task.cancel()
    await asyncio.wait([task])


def install(app: FastAPI) -> None:
    add_lifespan(app, lifespan)
