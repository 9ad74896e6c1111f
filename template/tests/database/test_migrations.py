"""The history of migrations leads to the models, and back."""

from alembic import command
from alembic.config import Config


def test_models_and_history_agree(alembic: Config) -> None:
    command.check(alembic)


def test_every_step_can_be_taken_back(alembic: Config) -> None:
    command.downgrade(alembic, "base")
    command.upgrade(alembic, "head")

    command.check(alembic)
