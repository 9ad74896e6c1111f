"""What callers send to log in, and what they get."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from app.auth.tokens import LONGEST
from app.schemas import Line, Schema


class LoginForm(BaseModel):
    """RFC 6749, section 4.3.2; what else a client sends is ignored."""

    model_config = Schema.model_config | {"extra": "ignore"}

    grant_type: Literal["password"] = "password"
    username: Annotated[Line, Field(max_length=320, description="the e-mail address")]
    password: SecretStr


class RefreshRequest(Schema):
    refresh_token: Annotated[SecretStr, Field(max_length=LONGEST)]


class TokenRead(BaseModel):
    """RFC 6749, section 5.1; `expires_in` is in seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int


class SessionRow(BaseModel):
    id: UUID
    device: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class SessionRead(SessionRow):
    """`last_used_at` is the last login or refresh; `current` is the session that asks."""

    current: bool
