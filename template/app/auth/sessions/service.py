"""Logging in, staying in, and logging out."""

from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.stdlib import get_logger

from app.auth.audit import Audit, AuditDep
from app.auth.credentials import lock, verify
from app.auth.models import RefreshToken, UserSession
from app.auth.sessions.repository import SessionRepository, StoredToken
from app.auth.sessions.schemas import SessionRead, SessionRow, TokenRead
from app.auth.state import Auth, AuthDep, Caller, CallerDep
from app.auth.tokens import TokenInvalid, make_refresh_token
from app.context import after_rollback
from app.database import Page, PageQuery, SessionDep, Sessions, SessionsDep
from app.errors import ServiceError

logger = get_logger()

# Two tabs, or an answer that was lost on the way: our choice, no standard's.
REUSE_LEEWAY = timedelta(seconds=10)


class LoginFailed(ServiceError):
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__("E-mail address or password is wrong.", headers={"WWW-Authenticate": "Bearer"})


class TokenReused(TokenInvalid):
    def __init__(self) -> None:
        super().__init__("The token has been used already.")


class SessionNotFound(ServiceError):
    status = HTTPStatus.NOT_FOUND

    def __init__(self, id: UUID) -> None:
        super().__init__(f"There is no session {id}.")


class SessionService:
    def __init__(self, session: AsyncSession, sessions: Sessions, auth: Auth, audit: Audit, caller: Caller) -> None:
        self.session = session
        self.sessions = sessions
        self.auth = auth
        self.audit = audit
        self.caller = caller
        self.repository = SessionRepository(session)

    async def log_in(self, email: str, password: SecretStr) -> TokenRead:
        """Answer alike, and after as much work, whether the account is unknown, inactive, or has another password."""
        verified = await verify(self.auth, self.sessions, email, password, self.caller.address)
        user = await lock(self.auth, self.session, verified, password)
        if user is None:
            self.audit.add_refused("login_failed", actor=None, target=verified.user_id)
            raise LoginFailed
        user.password_hash = verified.renewed_hash or user.password_hash
        now = datetime.now(UTC)
        await self.repository.forget_expired(user.id, now)
        opened = await self.repository.add(
            UserSession(
                user_id=user.id,
                device=self.caller.device,
                last_used_at=now,
                expires_at=now + timedelta(seconds=self.auth.settings.session_ttl),
            )
        )
        self.audit.add(self.session, "login", actor=user.id, target=opened.id)
        return self.hand_out(opened, now)

    async def refresh(self, refresh_token: SecretStr) -> TokenRead:
        """Use the token up, and return the next one; one that comes back has been stolen, and ends the session."""
        hashes = self.auth.tokens.hashes(refresh_token.get_secret_value())
        now = datetime.now(UTC)
        id = await self.repository.use(hashes, now)
        if id is None:
            token = await self.repository.find_token(hashes, now)
            if token is None or token.used_at is None:
                raise TokenInvalid
            if token.used_at < now - REUSE_LEEWAY and token.ended_at is None:
                self.end_family(token)
            raise TokenReused
        session = await self.repository.touch(id, now)
        if session is None:
            raise TokenInvalid
        await self.repository.forget_expired_tokens(id, now)
        return self.hand_out(session, now)

    def hand_out(self, session: UserSession, now: datetime) -> TokenRead:
        refresh_token = make_refresh_token()
        self.session.add(
            RefreshToken(
                session_id=session.id,
                token_hash=self.auth.tokens.hashes(refresh_token)[0],
                expires_at=min(now + timedelta(seconds=self.auth.settings.refresh_ttl), session.expires_at),
            )
        )
        return TokenRead(
            access_token=self.auth.tokens.write(session.user_id, session.id),
            refresh_token=refresh_token,
            expires_in=self.auth.settings.access_ttl,
        )

    def end_family(self, token: StoredToken) -> None:
        """End the session once the 401 has taken back everything else."""
        logger.warning("auth.refresh_reuse", family_id=str(token.session_id), user_id=str(token.user_id))
        self.audit.add_refused("refresh_reuse", actor=None, target=token.session_id, user_id=str(token.user_id))
        after_rollback(partial(self.end_apart, token.session_id))

    async def end_apart(self, id: UUID) -> None:
        async with self.sessions.begin() as session:
            await SessionRepository(session).end(datetime.now(UTC), UserSession.id == id)

    async def page(self, query: PageQuery, user_id: UUID, *, current: UUID) -> Page[SessionRead]:
        """List the sessions of a user that have not ended."""
        now = datetime.now(UTC)
        page = await self.repository.page(
            query,
            SessionRow,
            UserSession.user_id == user_id,
            UserSession.ended_at.is_(None),
            UserSession.expires_at > now,
            UserSession.last_used_at > now - timedelta(seconds=self.auth.settings.refresh_ttl),
        )
        return Page[SessionRead](
            items=[SessionRead(**row.model_dump(), current=row.id == current) for row in page.items],
            next_cursor=page.next_cursor,
            total=page.total,
        )

    async def end(self, user_id: UUID, *, id: UUID) -> bool:
        """Return whether there was one that had not ended yet."""
        ended = await self.repository.end(datetime.now(UTC), UserSession.user_id == user_id, UserSession.id == id)
        if ended:
            self.audit.add(self.session, "logout", actor=user_id, target=id)
        return ended > 0

    async def end_all(self, user_id: UUID) -> None:
        await self.repository.end(datetime.now(UTC), UserSession.user_id == user_id)
        self.audit.add(self.session, "logout_everywhere", actor=user_id, target=user_id)


async def get_service(
    session: SessionDep, sessions: SessionsDep, auth: AuthDep, audit: AuditDep, caller: CallerDep
) -> SessionService:
    return SessionService(session, sessions, auth, audit, caller)


SessionServiceDep = Annotated[SessionService, Depends(get_service)]
