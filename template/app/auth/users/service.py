"""What can be done with users."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.audit import Audit, AuditDep
from app.auth.credentials import lock, verify
from app.auth.identity import SignedIn
from app.auth.models import User, UserSession
from app.auth.repository import UserRepository
from app.auth.roles import permissions
from app.auth.sessions.repository import SessionRepository
from app.auth.state import Auth, AuthDep
from app.auth.users.schemas import AccountUpdate, PasswordChange, UserCreate, UserRead, UserUpdate
from app.database import Page, PageQuery, SessionDep, Sessions, SessionsDep
from app.errors import ServiceError


class UserNotFound(ServiceError):
    status = HTTPStatus.NOT_FOUND

    def __init__(self, id: UUID) -> None:
        super().__init__(f"There is no user {id}.")


class ReauthenticationRequired(ServiceError):
    status = HTTPStatus.FORBIDDEN

    def __init__(self) -> None:
        super().__init__("The current password is wrong.")


class RoleNotYours(ServiceError):
    status = HTTPStatus.FORBIDDEN

    def __init__(self) -> None:
        super().__init__("Only who may do all that a role may do can give it, take it, or change those who have it.")


class UserService:
    """The actor is who does it; nobody is whoever has the database and the command line."""

    def __init__(self, session: AsyncSession, sessions: Sessions, auth: Auth, audit: Audit) -> None:
        self.session = session
        self.sessions = sessions
        self.auth = auth
        self.audit = audit
        self.users = UserRepository(session)

    async def create(self, data: UserCreate, actor: SignedIn | None) -> User:
        self.check_roles(actor, data.roles)
        password_hash = await self.auth.passwords.hash(data.password)
        user = await self.users.add(
            User(email=data.email, name=data.name, roles=sorted({*data.roles}), password_hash=password_hash)
        )
        self.audit.add(
            self.session, "user_created", actor=actor.id if actor else None, target=user.id, roles=user.roles
        )
        return user

    async def page(self, query: PageQuery) -> Page[UserRead]:
        return await self.users.page(query, UserRead)

    async def get(self, id: UUID) -> User:
        user = await self.users.find(id)
        if user is None:
            raise UserNotFound(id)
        return user

    async def update(self, id: UUID, data: UserUpdate, actor: SignedIn | None) -> User:
        user = await self.users.lock(id)
        if user is None:
            raise UserNotFound(id)
        changes = data.model_dump()
        if "roles" in changes:
            changes["roles"] = sorted({*changes["roles"]})
        self.check_roles(actor, [*user.roles, *changes.get("roles", ())], target=id)
        for name, value in changes.items():
            setattr(user, name, value)
        await self.users.add(user)
        if not user.is_active:
            await SessionRepository(self.session).end(datetime.now(UTC), UserSession.user_id == id)
        changes.pop("name", None)  # which is nobody's business there
        self.audit.add(self.session, "user_updated", actor=actor.id if actor else None, target=id, **changes)
        return user

    async def update_account(self, actor: SignedIn, data: AccountUpdate) -> User:
        user = await self.get(actor.id)
        for name, value in data.model_dump().items():
            setattr(user, name, value)
        return await self.users.add(user)

    async def change_password(self, actor: SignedIn, data: PasswordChange) -> None:
        """Every other session ends: one of them may be why the password is changed."""
        self.auth.passwords.check_length(data.new_password)  # before an attempt is counted, for this is none
        password = data.current_password
        verified = await verify(self.auth, self.sessions, actor.email, password, self.audit.address)
        password_hash = await self.auth.passwords.hash(data.new_password) if verified.is_right else ""
        user = await lock(self.auth, self.session, verified, password)
        if user is None:
            self.audit.add_refused("password_change_failed", actor=actor.id, target=actor.id)
            raise ReauthenticationRequired
        user.password_hash = password_hash
        await self.users.add(user)
        others = UserSession.id != actor.session_id
        await SessionRepository(self.session).end(datetime.now(UTC), UserSession.user_id == user.id, others)
        self.audit.add(self.session, "password_changed", actor=user.id, target=user.id)

    async def reset_password(self, id: UUID, password: SecretStr) -> None:
        """For who has forgotten it: every session ends."""
        password_hash = await self.auth.passwords.hash(password)
        user = await self.users.lock(id)
        if user is None:
            raise UserNotFound(id)
        user.password_hash = password_hash
        await self.users.add(user)
        await SessionRepository(self.session).end(datetime.now(UTC), UserSession.user_id == id)
        self.audit.add(self.session, "password_reset", actor=None, target=id)

    def check_roles(self, actor: SignedIn | None, roles: list[str], *, target: UUID | None = None) -> None:
        """Nobody makes themselves more than they are, by way of somebody else (OWASP API5)."""
        if actor is None:
            return
        if not all(actor.may(permission) for permission in permissions(roles)):
            self.audit.add_refused("denied", actor=actor.id, target=target, roles=roles)
            raise RoleNotYours


async def get_service(session: SessionDep, sessions: SessionsDep, auth: AuthDep, audit: AuditDep) -> UserService:
    return UserService(session, sessions, auth, audit)


UserServiceDep = Annotated[UserService, Depends(get_service)]
