"""The audit log: who did what to whom, and what was refused."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import AuditEntry
from app.auth.state import CallerDep
from app.context import after_rollback, current
from app.database import Page, PageQuery, Repository, SessionDep, Sessions, SessionsDep

router = APIRouter(prefix="/audit", tags=["audit"])


class AuditRead(BaseModel):
    id: UUID
    action: str
    actor_id: UUID | None
    target_id: UUID | None
    request_id: str | None
    address: str | None
    details: dict[str, Any]  # what the action has to say
    created_at: datetime


class AuditRepository(Repository[AuditEntry]):
    model = AuditEntry


class Audit:
    def __init__(self, sessions: Sessions, address: str | None = None) -> None:
        self.sessions = sessions
        self.address = address

    def entry(self, action: str, actor: UUID | None, target: UUID | None, details: dict[str, Any]) -> AuditEntry:
        context = current.get(None)
        return AuditEntry(
            action=action,
            actor_id=actor,
            target_id=target,
            request_id=context and context.request_id,
            address=self.address,
            details=details,
        )

    def add(
        self,
        session: AsyncSession,
        action: str,
        *,
        actor: UUID | None,
        target: UUID | None,
        **details: Any,  # JSON
    ) -> None:
        """Write it in the transaction of what was done: neither is stored without the other."""
        session.add(self.entry(action, actor, target, details))

    def add_refused(self, action: str, *, actor: UUID | None, target: UUID | None = None, **details: Any) -> None:
        """Write what is answered with an error, which takes everything else of the request back."""
        entry = self.entry(action, actor, target, details)

        async def store() -> None:
            async with self.sessions.begin() as session:
                session.add(entry)

        after_rollback(store)


async def get_audit(sessions: SessionsDep, caller: CallerDep) -> Audit:
    return Audit(sessions, caller.address)


AuditDep = Annotated[Audit, Depends(get_audit)]


@router.get("")
async def list_audit_entries(query: PageQuery, session: SessionDep) -> Page[AuditRead]:
    """The newest first."""
    return await AuditRepository(session).page(query, AuditRead)
