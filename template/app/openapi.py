"""The description of the service: one schema for every problem, whatever the endpoint."""

from typing import Any

from fastapi import FastAPI

from app.errors import Problem

MEDIA = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {  # as FastAPI wants them
    "4XX": {"description": "The request cannot be fulfilled as it is", "content": MEDIA},
    "5XX": {"description": "The service or one behind it failed", "content": MEDIA},
}


class Service(FastAPI):
    def openapi(self) -> dict[str, Any]:  # as FastAPI has it
        description = super().openapi()
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(problem.pop("$defs"), Problem=problem)
        return description
