"""The application."""

from fastapi import FastAPI

from app.errors import UnhandledErrors
from app.feature import share_state
from app.features import FEATURES
from app.http import Admission, BodyLimit, RequestContextMiddleware, ServiceSettings, add_cors
from app.logs import access_logger
from app.openapi import PROBLEMS, Service, add_docs, describe
from app.resources import RESOURCES
from app.settings import Environment, project


def create_app() -> FastAPI:
    """Build the application from its features and resources; each reads its own settings from the environment."""
    metadata = project()
    settings = ServiceSettings()
    app = Service(
        title=metadata.name,
        version=metadata.version,
        description=metadata.description,
        openapi_tags=describe([*FEATURES, *RESOURCES]),
        generate_unique_id_function=lambda route: route.name,
        openapi_url="/openapi.json" if settings.shows_docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=PROBLEMS,
    )
    if settings.shows_docs:
        add_docs(app)
    # inside everything that is installed
    app.add_middleware(BodyLimit, max_body_size=settings.max_body_bytes)
    for feature in [*FEATURES, *RESOURCES]:
        feature.install(app)
    share_state(app)
    # around it, the outermost last
    app.add_middleware(
        Admission,
        hosts=settings.allowed_hosts,
        max_concurrency=settings.max_concurrency,
        max_body_bytes=settings.max_body_bytes,
    )
    app.add_middleware(UnhandledErrors)
    add_cors(app)  # around the errors: a page has to be able to read them
    production = settings.environment is Environment.PRODUCTION
    app.add_middleware(RequestContextMiddleware, write=access_logger(), only_https=production)
    return app


app = create_app()
