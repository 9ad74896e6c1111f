"""The application."""

from fastapi import FastAPI

from app.errors import UnhandledErrors
from app.features import FEATURES
from app.http import RequestContextMiddleware
from app.logs import access_logger
from app.resources import RESOURCES
from app.settings import project


def create_app() -> FastAPI:
    """Build the application from its features and resources; each reads its own settings from the environment."""
    metadata = project()
    app = FastAPI(title=metadata.name, version=metadata.version, description=metadata.description)
    for feature in [*FEATURES, *RESOURCES]:
        feature.install(app)
    # around everything that was installed, the outermost last
    app.add_middleware(UnhandledErrors)
    app.add_middleware(RequestContextMiddleware, write=access_logger())
    return app


app = create_app()
