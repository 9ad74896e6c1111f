"""Redis: nobody waits long for it, and while it is gone nobody waits at all."""

from app.redis.connection import Connection
from app.redis.server import RedisUnavailable, Server
from app.redis.settings import RedisFields

__all__ = ["Connection", "RedisFields", "RedisUnavailable", "Server"]
