"""Migrations of the full service, on both databases, as its owner and its deploys run them."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.postgresql import PostgreSQL
from tests.serving import SUITE, alembic, run


@pytest.fixture
def copy(full: Path, tmp_path: Path) -> Path:
    """A service whose files a test may change."""
    return shutil.copytree(full, tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__"))


def test_the_history_can_be_walked_up_and_down(full: Path, database: str) -> None:
    for step in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"], ["check"]):
        run = alembic(full, database, *step)
        assert run.returncode == 0, run.stderr


SLOW = """
import time

from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))
    time.sleep(2)


def downgrade() -> None:
    op.drop_table("orders")
"""


def test_of_two_migrators_one_waits(copy: Path, database: str) -> None:
    (copy / "migrations" / "versions" / "0002_slow.py").write_text(SLOW, "utf-8")

    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: alembic(copy, database, "upgrade", "head"), range(2)))

    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    assert alembic(copy, database, "current", "--check-heads").returncode == 0


def test_a_migration_does_not_wait_for_a_table_without_end(copy: Path, postgresql: PostgreSQL) -> None:
    database = postgresql.create()
    assert alembic(copy, database, "upgrade", "head").returncode == 0
    added = SLOW.replace('op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))', ALTER)
    (copy / "migrations" / "versions" / "0002_slow.py").write_text(added, "utf-8")

    with postgresql.locked(database):
        run = alembic(copy, database, "upgrade", "head")

    assert run.returncode == 1
    assert "lock timeout" in run.stderr


ALTER = 'op.add_column("items", sa.Column("weight", sa.Integer))'

COPIED = """
from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("item_id", sa.Uuid, sa.ForeignKey("items.id", ondelete="CASCADE")),
    )
    op.execute("INSERT INTO users VALUES ('a', 'a', 'a', 'a', '[]', true, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)")
    op.execute("INSERT INTO items VALUES ('a', 'a', 'a', NULL, 1, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)")
    op.execute("INSERT INTO labels VALUES (1, 'a')")
    with op.batch_alter_table("items", recreate="always") as items:
        items.alter_column("price_cents", nullable=True)
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM labels")) != 1:
        raise RuntimeError("the labels are gone")


def downgrade() -> None: ...
"""


def test_a_table_that_is_made_anew_keeps_the_rows_that_refer_to_it(copy: Path, tmp_path: Path) -> None:
    (copy / "migrations" / "versions" / "0002_copied.py").write_text(COPIED, "utf-8")

    run = alembic(copy, f"sqlite:///{tmp_path / 'test.db'}", "upgrade", "head")

    assert run.returncode == 0, run.stderr


def test_a_migration_that_fails_leaves_nothing(copy: Path, database: str) -> None:
    failing = SLOW.replace("time.sleep(2)", "raise RuntimeError")
    (copy / "migrations" / "versions" / "0002_failing.py").write_text(failing, "utf-8")

    failed = alembic(copy, database, "upgrade", "head")
    (copy / "migrations" / "versions" / "0002_failing.py").write_text(SLOW, "utf-8")
    mended = alembic(copy, database, "upgrade", "head")

    assert failed.returncode == 1
    assert mended.returncode == 0, mended.stderr


ORDER = """

class Order(Entity):
    __tablename__ = "orders"

    number: Mapped[str] = mapped_column(unique=True)
    shipped_at: Mapped[datetime | None]
"""


def test_a_new_model_is_missed_until_its_migration_is_written(copy: Path, tmp_path: Path) -> None:
    models = copy / "app" / "items" / "models.py"
    text = models.read_text("utf-8").replace(
        "from sqlalchemy import", "from datetime import datetime\n\nfrom sqlalchemy import"
    )
    models.write_text(text + ORDER, "utf-8")
    poe = [sys.executable, "-m", "poethepoet", "-q"]

    missed = run(copy, *SUITE, "tests/database/test_migrations.py")
    written = run(copy, *poe, "migration", "add orders")
    found = run(copy, *SUITE, "tests/database/test_migrations.py")
    linted = [run(copy, sys.executable, "-m", "ruff", *arguments) for arguments in (["check"], ["format", "--check"])]

    assert missed.returncode == 1
    assert "New upgrade operations detected" in missed.stdout
    assert written.returncode == 0, written.stderr
    (file,) = (copy / "migrations" / "versions").glob("2*_add_orders_*.py")
    assert file.read_text("utf-8").startswith('"""Add orders.')
    assert found.returncode == 0, found.stdout
    assert [run.returncode for run in linted] == [0, 0], linted
