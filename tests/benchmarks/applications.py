"""The applications that are compared; `service.py` starts each in a process of its own, which runs this file."""

import json
import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from hmac import digest
from http import HTTPStatus
from importlib import import_module
from typing import Annotated, Any, TypeAlias, TypedDict
from uuid import UUID

import asyncpg
import jwt
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"  # generic for the checker alone

SIGNED_IN = """
SELECT users.id, email, name, roles, is_active, users.created_at, users.updated_at
FROM users JOIN user_sessions ON user_sessions.user_id = users.id
WHERE users.id = $1 AND is_active AND user_sessions.id = $2 AND ended_at IS NULL AND expires_at > now()
"""
LIST = """
SELECT id, name, description, price_cents, created_at, updated_at FROM items
WHERE owner_id = $1 ORDER BY id DESC LIMIT $2
"""
CREATE = """
INSERT INTO items (id, owner_id, name, description, price_cents, created_at, updated_at)
VALUES (uuidv7(), $1, $2, $3, $4, now(), now())
RETURNING id, name, description, price_cents, created_at, updated_at
"""


class Pong(BaseModel):
    message: str


class User(BaseModel):
    id: UUID
    email: str
    name: str
    roles: list[str]
    is_active: bool
    created_at: datetime
    updated_at: datetime


class ItemCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1F\x7F]*$")
    description: str | None = Field(default=None, max_length=1000, pattern=r"^[^\x00]*$")
    price_cents: int = Field(ge=0, le=2**31 - 1)


class ItemRead(BaseModel):
    id: UUID
    name: str
    description: str | None
    price_cents: int
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    items: list[ItemRead]
    next_cursor: str | None


class State(TypedDict):
    pool: Pool
    key: bytes


async def ping() -> Pong:
    return Pong(message="pong")


async def get_user(request: Request) -> User:
    _, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        claims = jwt.decode(token, request.state.key, ["HS256"], {"verify_aud": False})
    except jwt.InvalidTokenError:
        raise HTTPException(HTTPStatus.UNAUTHORIZED) from None
    pool: Pool = request.state.pool
    row = await pool.fetchrow(SIGNED_IN, claims["sub"], claims["sid"])
    if row is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED)
    return User(**row)


UserDep = Annotated[User, Depends(get_user)]


async def me(user: UserDep) -> User:
    return user


async def list_items(request: Request, user: UserDep, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Page:
    pool: Pool = request.state.pool
    rows = await pool.fetch(LIST, user.id, limit + 1)
    shown = rows[:limit]
    following = urlsafe_b64encode(shown[-1]["id"].bytes).decode().rstrip("=") if len(rows) > limit else None
    return Page(items=[ItemRead(**row) for row in shown], next_cursor=following)


async def create_item(data: ItemCreate, request: Request, user: UserDep) -> ItemRead:
    pool: Pool = request.state.pool
    row = await pool.fetchrow(CREATE, user.id, data.name, data.description, data.price_cents)
    assert row is not None
    return ItemRead(**row)


async def read_json(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
    key = digest(os.environ["AUTH_SECRET_KEY"].encode(), b"access token", sha256)  # what the service signs with
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=15, init=read_json) as pool:
        yield {"pool": pool, "key": key}


def bare() -> FastAPI:
    """Build what can be had for nothing: FastAPI, a router and the driver, without middleware."""
    app = FastAPI(lifespan=lifespan)
    router = APIRouter()
    router.add_api_route("/ping", ping)
    router.add_api_route("/users/me", me)
    router.add_api_route("/items", list_items)
    router.add_api_route("/items", create_item, methods=["POST"], status_code=HTTPStatus.CREATED)
    app.include_router(router, prefix="/v1")
    return app


def always() -> FastAPI:
    """Leave out of the service what the answers chose: what stays is there in every combination."""
    features: Any = import_module("app.features")
    core = {"app.errors", "app.logs", "app.health", "app.http"}
    features.FEATURES = [feature for feature in features.FEATURES if feature.__name__ in core]
    return with_ping(import_module("app.main").app)


def service() -> FastAPI:
    app: FastAPI = import_module("app.main").app
    import_module("app.auth").make_public(app, "/v1/ping")
    return with_ping(app)


def with_ping(app: FastAPI) -> FastAPI:
    """Add an endpoint without a database, in a router after all others, as a resource is added."""
    router = APIRouter()
    router.add_api_route("/ping", ping)
    app.include_router(router, prefix="/v1")
    return app


def main() -> None:
    options: dict[str, Any] = {"server_header": False, "access_log": False, "log_config": None}  # those of app.serve
    application = {"bare": bare, "always": always, "service": service}[sys.argv[1]]()
    uvicorn.run(application, port=int(os.environ["SERVER_PORT"]), loop="uvloop", http="httptools", **options)


if __name__ == "__main__":
    main()
