"""The description of the service, for machines and for people."""

import re
import tomllib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from types import ModuleType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from app.errors import Problem
from app.feature import Feature
from app.settings import ROOT

MEDIA = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {  # as FastAPI wants them
    "4XX": {"description": "The request cannot be fulfilled as it is", "content": MEDIA},
    "5XX": {"description": "The service or one behind it failed", "content": MEDIA},
}


class Service(FastAPI):
    def openapi(self) -> dict[str, Any]:  # as FastAPI has it
        """Add whose the service is and the schema that `PROBLEMS` refers to; leave out the tags that nothing has."""
        description = super().openapi()
        operations = [operation for path in description["paths"].values() for operation in path.values()]
        used = {tag for operation in operations for tag in operation.get("tags", ())}
        description["tags"] = [tag for tag in description.get("tags", ()) if tag["name"] in used]
        description["info"].update(ownership())  # as an argument of FastAPI's, the contact would want email-validator
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(problem.pop("$defs"), Problem=problem)
        return description


@cache
def ownership() -> dict[str, Any]:  # as OpenAPI has it
    """Read from `[project]` of `pyproject.toml` whose the service is, as far as it says so."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    owned = {}
    if authors := metadata.get("authors"):
        owned["contact"] = authors[0]
    if isinstance(license := metadata.get("license"), str):  # an SPDX expression
        owned["license"] = {"name": license, "identifier": license}
    return owned


def describe(features: Sequence[Feature]) -> list[dict[str, Any]]:  # as FastAPI wants them
    """Return a tag for each module, described by the first line of its docstring."""
    return [
        {"name": feature.__name__.rpartition(".")[2], "description": feature.__doc__.partition("\n")[0]}
        for feature in features
        if isinstance(feature, ModuleType) and feature.__doc__
    ]


def add_docs(app: FastAPI) -> None:
    """Offer `/docs`, with a policy that lets in what the page names and nothing else."""
    title = app.title

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(openapi_url="openapi.json", title=title)
        page.headers["Content-Security-Policy"] = content_policy(str(page.body, "utf-8"))
        return page


def content_policy(page: str) -> str:
    scripts = re.findall(r'<script src="(.+?)"', page)
    styles = re.findall(r'rel="stylesheet" href="(.+?)"', page)
    icons = re.findall(r'rel="shortcut icon" href="(.+?)"', page)
    inline = [sha256(script.encode()).digest() for script in re.findall(r"<script>(.+?)</script>", page, re.DOTALL)]
    hashes = [f"'sha256-{b64encode(digest).decode()}'" for digest in inline]
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join([*scripts, *hashes])}",
            f"style-src {' '.join(styles)} 'unsafe-inline'",
            f"img-src {' '.join(icons)} data:",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        )
    )
