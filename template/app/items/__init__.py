"""Sample: items in a table, from the endpoint down to the query."""

from fastapi import FastAPI

from app.items.router import router

__all__ = ["install"]


def install(app: FastAPI) -> None:
    app.include_router(router, prefix="/v1")
