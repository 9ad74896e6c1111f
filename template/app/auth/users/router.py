"""Endpoints of users."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.auth.identity import CurrentUser, SignedIn
from app.auth.models import User
from app.auth.policies import requires
from app.auth.users.schemas import AccountUpdate, PasswordChange, UserCreate, UserRead, UserUpdate
from app.auth.users.service import UserServiceDep
from app.database import Page, PageQuery

account = APIRouter(prefix="/users/me", tags=["users"])
router = APIRouter(prefix="/users", tags=["users"], dependencies=[requires("users")])

LOCATION = {"headers": {"Location": {"description": "where the user is", "schema": {"type": "string"}}}}


@account.get("", response_model=UserRead)
async def get_account(user: CurrentUser) -> SignedIn:
    return user


@account.patch("", response_model=UserRead)
async def update_account(data: AccountUpdate, user: CurrentUser, service: UserServiceDep) -> User:
    return await service.update_account(user, data)


@account.post("/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(data: PasswordChange, user: CurrentUser, service: UserServiceDep) -> None:
    """Every other session ends."""
    await service.change_password(user, data)


@router.post("", status_code=HTTPStatus.CREATED, response_model=UserRead, responses={HTTPStatus.CREATED: LOCATION})
async def create_user(
    data: UserCreate, actor: CurrentUser, service: UserServiceDep, request: Request, response: Response
) -> User:
    user = await service.create(data, actor)
    response.headers["Location"] = request.app.url_path_for("get_user", id=str(user.id))
    return user


@router.get("")
async def list_users(query: PageQuery, service: UserServiceDep) -> Page[UserRead]:
    """The newest first."""
    return await service.page(query)


@router.get("/{id}", response_model=UserRead)
async def get_user(id: UUID, service: UserServiceDep) -> User:
    return await service.get(id)


@router.patch("/{id}", response_model=UserRead)
async def update_user(id: UUID, data: UserUpdate, actor: CurrentUser, service: UserServiceDep) -> User:
    """Who is not active any more has no sessions any more."""
    return await service.update(id, data, actor)
