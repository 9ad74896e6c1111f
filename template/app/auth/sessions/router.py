"""Endpoints of sessions."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form

from app.auth.identity import CurrentUser
from app.auth.policies import public
from app.auth.sessions.schemas import LoginForm, RefreshRequest, SessionRead, TokenRead
from app.auth.sessions.service import SessionNotFound, SessionServiceDep
from app.database import Page, PageQuery

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post("/token", dependencies=[public])
async def log_in(form: Annotated[LoginForm, Form()], service: SessionServiceDep) -> TokenRead:
    """Log in with e-mail address and password."""
    return await service.log_in(form.username, form.password)


@router.post("/refresh", dependencies=[public])
async def refresh(data: RefreshRequest, service: SessionServiceDep) -> TokenRead:
    """Get new tokens for a refresh token, which is good for that once."""
    return await service.refresh(data.refresh_token)


@router.post("/logout", status_code=HTTPStatus.NO_CONTENT)
async def log_out(user: CurrentUser, service: SessionServiceDep, everywhere: bool = False) -> None:
    """End this session, or all of them."""
    if everywhere:
        await service.end_all(user.id)
    else:
        await service.end(user.id, id=user.session_id)


@router.get("/sessions")
async def list_sessions(query: PageQuery, user: CurrentUser, service: SessionServiceDep) -> Page[SessionRead]:
    """Your own, the newest first."""
    return await service.page(query, user.id, current=user.session_id)


@router.delete("/sessions/{id}", status_code=HTTPStatus.NO_CONTENT)
async def end_session(id: UUID, user: CurrentUser, service: SessionServiceDep) -> None:
    if not await service.end(user.id, id=id):
        raise SessionNotFound(id)
