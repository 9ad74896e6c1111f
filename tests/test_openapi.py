"""The OpenAPI description is valid, and what the service answers is what it says."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.combinations import BARE, EACH, FULL, Answers, identify, unique
from tests.conftest import Render
from tests.serving import PASSWORD, alembic, create_user, log_in, run, served

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)]

every_feature = pytest.mark.parametrize("answers", unique([BARE, *EACH, FULL]), ids=identify)


def describe(service: Path) -> dict[str, Any]:  # JSON
    """Return what the owner's command writes, whatever the environment."""
    here = str(Path(sys.executable).parent)
    variables = {"PATH": os.pathsep.join([here, os.environ["PATH"]]), "SERVICE_ENVIRONMENT": "production"}
    process = run(service, sys.executable, "-m", "poethepoet", "openapi", variables=variables)
    assert process.returncode == 0, process.stderr
    description: dict[str, Any] = json.loads(process.stdout)
    return description


@every_feature
def test_the_description_is_valid(render: Render, answers: Answers) -> None:
    OpenAPIV31SpecValidator(describe(render(answers))).validate()


def test_what_is_logged_stays_out_of_the_description(render: Render, tmp_path: Path) -> None:
    service = shutil.copytree(render(BARE), tmp_path / "service")
    (service / "app" / "orders.py").write_text(
        "from structlog.stdlib import get_logger\n\ndef install(app):\n    get_logger().warning('orders.installed')\n"
    )
    (service / "app" / "resources.py").write_text("from app import orders\n\nRESOURCES = [orders]\n")

    assert describe(service) == describe(render(BARE))


class Provider(BaseHTTPRequestHandler):
    """Knows what a pound is worth, in every currency."""

    def do_GET(self) -> None:  # the name that http.server looks for
        (base,) = parse_qs(urlsplit(self.path).query)["base"]
        content = json.dumps({"base": base, "rates": {"GBP": 0.88}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@every_feature
def test_the_service_answers_as_it_is_described(
    render: Render, answers: Answers, provider: str, tmp_path: Path
) -> None:
    """Schemathesis asks for whatever may be asked for, and for more."""
    service, database = render(answers), f"sqlite:///{tmp_path / 'service.db'}"
    variables = {
        "AUTH_ACCOUNT_ATTEMPTS": str(10**6),  # passwords are guessed more often than anybody may
        "AUTH_ADDRESS_ATTEMPTS": str(10**6),
        "DATABASE_URL": database,
        "RATES_FRANKFURTER_URL": provider,
        "SERVICE_ENVIRONMENT": "test",
    }
    stranger = {"email": "stranger@example.org", "password": PASSWORD}
    if answers["database"]:
        assert alembic(service, database, "upgrade", "head").returncode == 0
    if answers["auth"]:
        create_user(service, database, role="admin")
    with served(service, [sys.executable, "-m", "app.serve"], variables=variables) as (process, port, _):
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()  # else it blocks when the pipe is full
        url, users = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/v1/users"
        known = httpx2.post(users, json=stranger, headers=log_in(url)).json()["id"] if answers["auth"] else ""
        examination = run(tmp_path, *SCHEMATHESIS, "run", f"{url}/openapi.json", variables={"STRANGER": known})
        is_admin = not answers["auth"] or httpx2.get(users, headers=log_in(url)).is_success

    assert examination.returncode == 0, examination.stdout + examination.stderr
    assert is_admin, "who asked could not ask for everything any more"
