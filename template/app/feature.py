"""What the application is assembled from."""

from typing import Protocol

from fastapi import FastAPI


class Feature(Protocol):
    """A module or package that adds itself to the application."""

    def install(self, app: FastAPI, /) -> None: ...
