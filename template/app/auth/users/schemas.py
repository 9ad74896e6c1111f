"""What callers send and get of users."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import MISSING, AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StrictBool

from app.auth.emails import Email
from app.auth.roles import ROLES
from app.schemas import Line, Schema


def check_role(role: str) -> str:
    if role not in ROLES:
        raise ValueError(f"There is no such role, only {', '.join(ROLES)}")
    return role


Name = Annotated[Line, Field(max_length=100)]
Role = Annotated[str, AfterValidator(check_role), Field(json_schema_extra={"enum": [*ROLES]})]
Roles = Annotated[list[Role], Field(max_length=20)]


class UserCreate(Schema):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.org", "password": "correct horse battery staple"}]}
    )

    email: Email
    password: SecretStr
    name: Name = ""
    roles: Roles = Field(default=["user"])


class UserUpdate(Schema):
    """A field that is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"roles": ["admin"]}]})

    name: Name | MISSING = MISSING
    roles: Roles | MISSING = MISSING
    is_active: StrictBool | MISSING = MISSING


class AccountUpdate(Schema):
    name: Name | MISSING = MISSING


class PasswordChange(Schema):
    current_password: SecretStr
    new_password: SecretStr


class UserRead(BaseModel):
    id: UUID
    email: str
    name: str
    roles: list[str]
    is_active: bool
    created_at: datetime
    updated_at: datetime
