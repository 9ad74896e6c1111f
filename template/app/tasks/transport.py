"""Redis as a broker that may go away while tasks run."""

from typing import Any

from kombu.transport import redis
from structlog.stdlib import get_logger

logger = get_logger()


class Channel(redis.Channel):
    def _connparams(self, *args: Any, **kwargs: Any) -> Any:  # as kombu has it
        """Fail as what has lost its connection does; of kombu 5.7 comes an error that ends the worker."""
        if self.connection.client is None:
            raise ConnectionError("The connection has been closed.")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]  # not in its stubs

    def _brpop_read(self, **options: Any) -> Any:  # as kombu has it
        """Drop what is no message at all, of which the worker would end."""
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in its stubs
        except (LookupError, TypeError, ValueError) as error:
            logger.error("tasks.unreadable", error=type(error).__name__)
            return True


class Transport(redis.Transport):
    Channel = Channel
