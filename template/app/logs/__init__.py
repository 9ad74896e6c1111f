"""Logs: one JSON object a line on standard output, pretty in a development terminal."""

from fastapi import FastAPI

from app.logs.configuration import LogSettings, access_logger, configure

__all__ = ["LogSettings", "access_logger", "configure", "install"]


def install(app: FastAPI) -> None:
    configure()
