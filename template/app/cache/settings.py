"""Where answers are kept, and how many."""

from pydantic import Field, PositiveInt
from pydantic_settings import SettingsConfigDict

from app.redis import RedisFields
from app.settings import Settings


class CacheSettings(RedisFields, Settings):
    model_config = SettingsConfigDict(env_prefix="CACHE_")

    memory_bytes: PositiveInt = Field(default=50_000_000, description="what a process keeps at most without Redis")
