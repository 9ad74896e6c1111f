"""Beat: stores what is due by the clock as any other task, and hands over what nobody else has."""

from datetime import datetime
from time import monotonic
from typing import Any

from celery import beat
from celery.schedules import crontab

from app.tasks.definitions import TASKS
from app.tasks.outbox import store
from app.tasks.probe import beats
from app.tasks.relay import relay
from app.tasks.worker import process

AT_ONCE = 5.0  # seconds for which what is due by the clock has to wait
PAUSE = 5.0  # seconds until a broker or a database that has failed is asked again


class Scheduler(beat.Scheduler):
    producer = None  # type: ignore[assignment]  # it sends nothing itself

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # as Celery has it
        self.waiting: list[tuple[str, str]] = []
        self.quiet_until = 0.0
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:  # as Celery has it
        beats("beat").touch()
        delay = super().tick(*args, **kwargs)
        return delay if monotonic() < self.quiet_until else min(delay, self.work())

    def work(self) -> float:
        """Store and hand over for a while; return the seconds until there is more to do."""
        broker = process.opened["tasks"]
        until = monotonic() + AT_ONCE
        try:
            while self.waiting:
                process.portal.call(store_scheduled, *self.waiting[0])
                self.waiting.pop(0)
            while process.portal.call(relay, process.opened["sessions"], broker.send):
                if monotonic() > until:
                    return 0
        except Exception as error:  # broker or database, and either is there again some time
            broker.note(error)
            self.quiet_until = monotonic() + PAUSE
        return 1

    def apply_async(self, entry: beat.ScheduleEntry, *args: Any, **kwargs: Any) -> None:  # as Celery has it
        """Store it under the minute that it is for: of two that watch the clock one comes too late."""
        self.waiting.append((str(entry.task), f"{due_at(entry):%Y-%m-%dT%H:%M}"))


def due_at(entry: beat.ScheduleEntry) -> datetime:
    assert isinstance(entry.schedule, crontab)
    assert entry.last_run_at is not None
    since, delta, _ = entry.schedule.remaining_delta(entry.last_run_at)
    minute: datetime = since + delta
    return minute


async def store_scheduled(name: str, minute: str) -> None:
    async with process.opened["sessions"].begin() as session:
        await store(session, TASKS[name], {}, key=minute)
