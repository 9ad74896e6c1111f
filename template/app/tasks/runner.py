"""Runs a task: its success is stored together with what it did, or neither is."""

import asyncio
import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any
from uuid import UUID

from anyio import CancelScope
from fastapi import FastAPI
from structlog.stdlib import get_logger

from app.context import RequestContext, current
from app.tasks.attempts import Attempts, Claim, LimitExceeded, Superseded
from app.tasks.runs import Run

logger = get_logger()

LEVELS = {"failed": logging.ERROR, "retrying": logging.WARNING, "unknown": logging.ERROR}


def is_cancelled() -> bool:
    """Say whether whoever asks has been cancelled, and not only what they were waiting for."""
    running = asyncio.current_task()
    return running is not None and running.cancelling() > 0


class Runner:
    def __init__(self, app: FastAPI, opened: Mapping[str, Any]) -> None:  # what the lifespans hold open
        self.app = app
        self.opened = opened
        self.sessions = opened["sessions"]
        self.settings = app.state.tasks_settings
        self.attempts = Attempts(self.sessions, self.settings)

    async def run(self, id: UUID, number: int = 0, *, lost: bool = False) -> None:
        """Run the task, unless it has been done, or is being done.

        `lost` says that whoever was given the message of this number before is; what another one has begun is not.
        """
        claim = await self.claim(id, number, lost=lost)
        if claim is None:
            return
        task = claim.task
        context = RequestContext(
            task.request_id or id.hex,
            trace_id=task.trace_id,
            principal_id=task.principal_id,
            opened=self.opened,
            reads=claim.definition.options.reads,
        )
        token = current.set(context)
        started = perf_counter()
        outcome, error = "unknown", None
        try:
            await self.work(claim)
            outcome = "succeeded"
            await context.settle(committed=True)
        except asyncio.CancelledError:
            outcome = "broken off"
            with CancelScope(shield=True):
                await context.settle(committed=False)
                await self.attempts.put_back(task)
            raise
        except Superseded:
            outcome = "superseded"
            await context.settle(committed=False)
        except Exception as failure:  # whatever it is, it has to be stored that the task has failed
            await context.settle(committed=False)
            outcome, error = await self.attempts.fail(claim, failure), failure
        finally:
            logger.log(
                LEVELS.get(outcome, logging.INFO),
                "tasks.run",
                task=task.name,
                id=str(id),
                attempt=task.attempts,
                outcome=outcome,
                duration_ms=round((perf_counter() - started) * 1000, 3),
                exc_info=error if outcome == "failed" else None,
            )
            current.reset(token)

    async def claim(self, id: UUID, number: int, *, lost: bool) -> Claim | None:
        """Put back what has been claimed where this is broken off before anybody knows of it."""
        claiming = asyncio.create_task(self.attempts.claim(id, number, lost=lost))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with CancelScope(shield=True):
                if claim := await claiming:
                    await self.attempts.put_back(claim.task)
            raise

    async def work(self, claim: Claim) -> None:
        task, definition = claim.task, claim.definition
        limit = definition.options.soft_limit or self.settings.soft_limit
        async with self.sessions() as session:
            run = Run(task, session, sessions=self.sessions, app=self.app, opened=self.opened)
            try:
                async with asyncio.timeout(limit) as scope:
                    result = await definition.call(run, task.arguments)
            except TimeoutError as error:
                if scope.expired():
                    raise LimitExceeded(limit) from error
                raise
            except asyncio.CancelledError as error:
                if is_cancelled():
                    raise
                raise RuntimeError("It has waited for something that was cancelled.") from error
            await self.attempts.succeed(session, task, result)
            await session.commit()
