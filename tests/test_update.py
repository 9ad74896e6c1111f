"""A service takes later versions of the template and other answers, as if it had been rendered with them."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from copier import run_copy, run_update

from tests.combinations import EVERY, FEATURES, FULL, ONE, TWO, Answers, Toggle, identify, identify_toggle, without
from tests.conftest import Commit, Copy, Render, Suite
from tests.serving import SUITE, run


def update(service: Path, answers: Answers | None = None, *, version: str | None = None) -> None:
    """Bring the service to a version, the newest one where none is named, and to other answers."""
    run_update(
        service, data=dict(answers or {}), defaults=True, overwrite=True, unsafe=True, quiet=True, vcs_ref=version
    )


def tree(service: Path) -> dict[str, bytes]:
    """Return each file by its path, but for the migrations: their history belongs to the service."""
    names = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=service, text=True
    ).splitlines()
    return {
        name: (service / name).read_bytes()
        for name in names
        if (service / name).is_file() and not name.startswith("migrations/versions/")
    }


OWN_PACKAGE = '''"""Orders."""

from typing import Annotated

from fastapi import APIRouter, FastAPI, Query
from packaging.version import Version
from pydantic import PositiveInt
from pydantic_settings import SettingsConfigDict

from app.settings import Settings


class OrderSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="ORDERS_")

    limit: PositiveInt = 100


router = APIRouter(prefix="/orders", tags=["orders"])


@router.get("")
async def list_orders(since: Annotated[str, Query()] = "1.0") -> list[int]:
    return list(Version(since).release)


def install(app: FastAPI) -> None:
    app.state.order_settings = OrderSettings()
    app.include_router(router, prefix="/v1")
'''

Edit = Callable[[str], str]


def below(anchor: str, *lines: str) -> Edit:
    """Write lines below the first line that ends with the anchor, where the service says that they belong."""
    return instead(f"{anchor}\n", "\n".join([anchor, *lines, ""]))


def instead(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new, 1)


EDITS: Mapping[str, Edit] = {
    "app/resources.py": lambda text: instead(
        "RESOURCES: Sequence[Feature] = []", "RESOURCES: Sequence[Feature] = [orders]"
    )(instead("from app.feature", "from app import orders\nfrom app.feature")(text)),
    ".dockerignore": below("# this service", "!templates"),
    ".env.example": below("# this service", "", "# how many orders are listed", "ORDERS_LIMIT=100"),
    ".github/workflows/ci.yml": lambda text: below("\n  # this service", "  deploy:", "    runs-on: ubuntu-24.04")(
        below("--all-files\n      # features\n      # this service", "      - run: echo checked")(text)
    ),
    ".gitignore": below("# this service", "/orders.csv"),
    "README.md": below("<!-- this service -->", "", "## Orders", "", "They are ours."),
    "compose.yaml": lambda text: below("\n  # this service", "", "  mail:", "    image: axllent/mailpit:v1.27")(
        below("      # this service", "      ORDERS_LIMIT: 50")(text)
    ),
    "docs/README.md": below("<!-- this service -->", "- [orders](orders.md): ours"),
    "pyproject.toml": lambda text: below("  # this service", '  "packaging>=25",')(
        instead('version = "0.1.0"', 'version = "2.4.0"')(text)
    ),
    "tests/conftest.py": below("    # this service", '    "tests.fixtures.orders",'),
    "app/items/schemas.py": instead("max_length=100)", "max_length=80)"),
    "app/rates/service.py": instead("default=2.0", "default=3.0"),
    "app/settings.py": instead("return Project(", "# the one place\n    return Project("),
}

NEW = {
    "app/orders/__init__.py": OWN_PACKAGE,
    "docs/orders.md": "# Orders\n",
    "tests/fixtures/orders.py": '"""Orders."""\n',
    "tests/orders/test_orders.py": "def test_orders() -> None: ...\n",
}

DELETED = "tests/rates/test_rates.py"


def live_in(service: Path, *, like: Path | None = None) -> None:
    """Edit the service as its owner does in a year; with `like`, only where that service could have been edited."""
    for name, edit in EDITS.items():
        texts = [
            (folder / name).read_text("utf-8") for folder in (service, like or service) if (folder / name).exists()
        ]
        assert like or all(edit(text) != text for text in texts), name
        if len(texts) == 2 and all(edit(text) != text for text in texts):
            (service / name).write_text(edit(texts[0]), "utf-8")
    for name, text in NEW.items():
        (service / name).parent.mkdir(parents=True, exist_ok=True)
        (service / name).write_text(text, "utf-8")
    if ((like or service) / DELETED).parent.exists():
        (service / DELETED).unlink(missing_ok=True)


def pack(folder: Path) -> None:
    """Have git keep everything in one file, for the folder is copied and cloned again and again."""
    subprocess.run(["git", "gc", "--quiet"], cwd=folder, check=True)


@pytest.fixture(scope="session")
def original(template: Path, tmp_path_factory: pytest.TempPathFactory, commit: Commit) -> Render:
    """Render and commit a service once for all tests, from a template that stays as it is."""
    release = tmp_path_factory.mktemp("release") / "copier-fastapi"
    shutil.copytree(template, release)
    commit(release, tag="1.0.0")
    pack(release)
    services: dict[str, Path] = {}

    def once(answers: Answers) -> Path:
        name = identify(answers)
        if name not in services:
            services[name] = tmp_path_factory.mktemp("original") / "service"
            run_copy(str(release), services[name], data=dict(answers), defaults=True, unsafe=True, quiet=True)
            commit(services[name])
            pack(services[name])
        return services[name]

    return once


@pytest.fixture
def copy(original: Render, tmp_path: Path) -> Copy:
    return lambda name, answers: shutil.copytree(original(answers), tmp_path / name)


def prove_untouched(copy: Copy, toggle: Toggle) -> None:
    """Prove that a service as it was rendered becomes a fresh copy."""
    before, after = toggle
    service = copy("untouched", before)

    update(service, after)

    assert tree(service) == tree(copy("expected", after))
    folders = [path for path in service.rglob("*") if path.is_dir() and ".git" not in path.parts]
    assert [path for path in folders if not any(path.iterdir())] == []


def prove_lived_in(copy: Copy, commit: Commit, toggle: Toggle) -> Path:
    """Prove that a service that somebody lives in becomes a fresh copy with the edits, and return it."""
    before, after = toggle
    service, fresh = copy("service", before), copy("fresh", after)
    live_in(fresh, like=service)
    live_in(service)
    commit(service)

    update(service, after)

    assert tree(service) == tree(fresh)
    assert [path.name for path in service.rglob("*.rej")] == []
    return service


def write_policy(service: Path) -> None:
    """Say who may call the owner's own routes, where every route has to."""
    package = service / "app" / "orders" / "__init__.py"
    if (service / "app" / "auth").exists():
        text = instead('prefix="/v1")', 'prefix="/v1", dependencies=[requires("orders")])')(package.read_text("utf-8"))
        package.write_text(
            instead("from app.settings", "from app.auth import requires\nfrom app.settings")(text), "utf-8"
        )


def prove_working(service: Path, suite: Suite, *tests: str) -> None:
    """Prove that a service passes its suite with the policy and the migration that its owner writes after an update.

    Or the tests that lie at these places.
    """
    write_policy(service)
    if (service / "migrations" / "env.py").exists():
        written = run(service, sys.executable, "-m", "poethepoet", "-q", "migration", "what the answers changed")
        assert written.returncode == 0, written.stderr
    code, output = suite(service, *(str(path.relative_to(service)) for place in tests for path in service.glob(place)))
    assert code == 0, output


# where what the owner has written makes a difference to a fresh copy, whose whole suite test_combinations.py runs
TOUCHED = ("tests/test_*.py", "tests/items", "tests/orders", "tests/rates", "tests/database/test_migrations.py")


@pytest.mark.parametrize("toggle", ONE, ids=identify_toggle)
def test_a_feature_comes_or_goes(copy: Copy, commit: Commit, suite: Suite, toggle: Toggle) -> None:
    prove_untouched(copy, toggle)
    prove_working(prove_lived_in(copy, commit, toggle), suite, *TOUCHED)


@pytest.mark.parametrize("toggle", TWO, ids=identify_toggle)
def test_two_features_come_or_go(copy: Copy, commit: Commit, toggle: Toggle) -> None:
    prove_untouched(copy, toggle)
    prove_lived_in(copy, commit, toggle)


def test_any_features_come_and_go(copy: Copy, commit: Commit, drawn: Toggle) -> None:
    prove_untouched(copy, drawn)
    prove_lived_in(copy, commit, drawn)


@pytest.mark.every_toggle
@pytest.mark.parametrize("toggle", EVERY, ids=identify_toggle)
def test_each_feature_comes_and_goes_wherever_it_may(copy: Copy, commit: Commit, suite: Suite, toggle: Toggle) -> None:
    prove_untouched(copy, toggle)
    prove_working(prove_lived_in(copy, commit, toggle), suite)


@pytest.mark.parametrize("name", FEATURES)
def test_off_and_on_again_is_as_if_nothing_had_been(copy: Copy, commit: Commit, name: str) -> None:
    service, fresh = copy("service", FULL), copy("fresh", FULL)
    live_in(fresh, like=copy("between", without(FULL, name)))  # edits of what was switched off are gone
    live_in(service)
    commit(service)

    update(service, without(FULL, name))
    commit(service)
    update(service, FULL)

    assert tree(service) == tree(fresh)


def test_where_people_log_in_the_own_routes_wait_for_their_policy(copy: Copy, commit: Commit) -> None:
    service = copy("service", without(FULL, "auth"))
    live_in(service)
    commit(service)
    variables = {"SERVICE_ENVIRONMENT": "test"}

    update(service, FULL)
    refused = run(service, sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0", variables=variables)
    write_policy(service)
    routes = run(service, sys.executable, "-m", "scripts.routes", variables=variables)

    assert refused.returncode != 0
    assert "Nothing says who may call GET /v1/orders" in refused.stdout + refused.stderr
    assert re.search(r"^GET +/v1/orders +orders:read$", routes.stdout, re.MULTILINE)


def test_without_a_database_the_history_stays_and_nothing_reads_it(copy: Copy) -> None:
    service = copy("service", FULL)

    update(service, without(FULL, "database"))

    assert (service / "migrations" / "versions" / "0001_initial.py").exists()
    assert not (service / "migrations" / "env.py").exists()
    for arguments in (["ruff", "check"], ["ruff", "format", "--check"], ["deptry", "app"], ["mypy"]):
        checked = run(service, sys.executable, "-m", *arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_with_a_database_the_owner_writes_the_history(copy: Copy) -> None:
    service = copy("service", without(FULL, "database"))

    update(service, FULL)
    assert not (service / "migrations" / "versions").exists()
    missed = run(service, *SUITE, "tests/database/test_migrations.py")
    written = run(service, sys.executable, "-m", "poethepoet", "-q", "migration", "first tables")
    found = run(service, *SUITE, "tests/database/test_migrations.py")

    assert missed.returncode == 1
    assert written.returncode == 0, written.stderr
    assert found.returncode == 0, found.stdout
