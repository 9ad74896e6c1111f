"""Who may connect, and how much of everything one of them may have."""

from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from app.http.cors import Origin
from app.redis import RedisFields
from app.settings import Commas, Environment, Settings

MOST_BYTES = 1_048_576  # that wait for one client; a message grows fourfold at most on its way
MOST_FRAMES = 2000  # a second, of one client: more end the connection without a word


class WebSocketsSettings(RedisFields, Settings):
    model_config = SettingsConfigDict(env_prefix="WEBSOCKETS_")

    origins: Commas[Origin] = Field(
        default=(),
        description="origins of pages that may connect, like https://shop.example, beside those of the service itself",
    )
    max_message_bytes: PositiveInt = Field(
        default=65_536, le=MOST_BYTES // 4, description="the longest message that is read"
    )
    messages_per_second: PositiveInt = Field(
        default=20, le=MOST_FRAMES // 2, description="messages that a connection may send"
    )
    rooms_per_connection: PositiveInt = Field(default=50, description="rooms that a connection may be in")
    connections_per_principal: PositiveInt = Field(
        default=5, description="connections of one caller, where it is known who is calling, to each process"
    )
    connections_per_address: PositiveInt = Field(
        default=100, description="connections from one address to each process"
    )
    max_connections: PositiveInt = Field(default=10_000, description="connections to each process")

    @field_validator("origins")
    @classmethod
    def check_origins(cls, origins: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "*" in origins:
            raise ValueError("every origin has to be named")
        production = info.data.get("environment") is Environment.PRODUCTION
        if production and any(not origin.startswith("https:") for origin in origins):
            raise ValueError("origins must be https in production")
        return origins
