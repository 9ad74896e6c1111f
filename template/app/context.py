"""What belongs to one request: its id, who is calling, and what to do once it has ended."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from structlog.stdlib import get_logger

logger = get_logger()

READING = frozenset({"GET", "HEAD"})  # methods

Callback = Callable[[], Awaitable[object]]
Introduction = Callable[[str], Awaitable[object]]


@dataclass(slots=True)
class RequestContext:
    """State of one request; `status` is `None` until the response has started.

    `principal_id` is an identifier, and neither name nor address: every line of the log has it. An answer may depend on
    it, and on `permissions`; `principal` is whatever else is known of them. `opened` is what the lifespans of the
    application hold open; `reads` says that nothing has been changed, nor is to be.
    """

    request_id: str
    trace_id: str | None = None
    opened: Mapping[str, Any] = field(default_factory=dict)  # each feature adds what it likes
    reads: bool = False
    principal_id: str | None = None
    principal: object | None = None
    permissions: frozenset[str] = frozenset()
    status: int | None = None
    on_commit: list[Callback] = field(default_factory=list)
    on_rollback: list[Callback] = field(default_factory=list)
    on_identified: list[Introduction] = field(default_factory=list)

    async def identify(self, principal_id: str, permissions: frozenset[str]) -> None:
        """Note who is calling, and tell whoever waits for that; what they raise is the answer."""
        self.principal_id = principal_id
        self.permissions = permissions
        for introduce in self.on_identified:
            await introduce(principal_id)

    async def settle(self, *, committed: bool) -> None:
        """Run the callbacks of this outcome in order and drop the others; one that fails is logged, nothing more.

        They run to the end, also where whoever waits for them is cancelled: the outcome stands.
        """
        callbacks, others = (self.on_commit, self.on_rollback) if committed else (self.on_rollback, self.on_commit)
        others.clear()
        while callbacks:
            due = callbacks[:]
            callbacks.clear()
            await asyncio.shield(run(due, committed=committed))


async def run(callbacks: Sequence[Callback], *, committed: bool) -> None:
    for callback in callbacks:
        try:
            await callback()
        except Exception:  # the callbacks after this one must still run
            logger.exception("context.callback_failed", committed=committed)


current: ContextVar[RequestContext] = ContextVar("request_context")


def undecided() -> RequestContext:
    """Return the context of a request whose response has not started; raise where there is none."""
    context = current.get()
    if context.status is not None:
        raise RuntimeError("The response has left: it is too late to wait for the outcome of this request.")
    return context


def after_commit(callback: Callback) -> None:
    """Run `callback` once the work of this request is stored and before its response leaves."""
    undecided().on_commit.append(callback)


def after_rollback(callback: Callback) -> None:
    """Run `callback` once the work of this request has been undone and before its response leaves."""
    undecided().on_rollback.append(callback)
