"""Starts the server: `poe serve` for production, `poe dev` with reloading; a setting is a command-line option too."""

import os
import sys
from contextlib import suppress
from importlib import import_module

import uvicorn
from pydantic import Field, IPvAnyNetwork, NonNegativeInt, PositiveInt, ValidationError
from pydantic_settings import CliApp, SettingsConfigDict, SettingsError

from app import logs
from app.settings import ROOT, Commas, Environment, Settings

# {%- if websockets +%}
from app.websockets.protocol import Protocol
from app.websockets.settings import WebSocketsSettings

# {%- endif +%}


class ServerSettings(Settings):
    model_config = SettingsConfigDict(env_prefix="SERVER_", cli_kebab_case=True, cli_prog_name="poe serve")

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="port to listen on")
    workers: PositiveInt = Field(default=1, description="processes")
    max_requests: PositiveInt | None = Field(
        default=None, description="requests after which a worker ends and is replaced"
    )
    max_requests_jitter: NonNegativeInt = Field(default=0, description="up to so many more, so that they do not all go")
    keep_alive: NonNegativeInt = Field(default=5, description="seconds an idle connection stays open")
    graceful_timeout: NonNegativeInt = Field(default=20, description="seconds for open requests after SIGTERM")
    trusted_proxies: Commas[IPvAnyNetwork] = Field(
        default=(),
        description="addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed, like 10.0.0.0/8",
    )


def main() -> int:
    """Return `EX_CONFIG` of sysexits.h where a setting is wrong; workers would not tell."""
    try:
        settings = CliApp.run(ServerSettings)
        # {% if websockets %}
        messages = WebSocketsSettings()
        # {% endif %}
        os.environ["SERVER_WORKERS"] = str(settings.workers)  # as an option it would be a secret of this process
        logs.configure()
        reload = settings.environment is Environment.DEVELOPMENT
        if not reload:
            import_module("app.main")
    except (ValidationError, SettingsError) as error:
        with suppress(ValidationError, SettingsError):
            import_module("app.main")  # and with it every class of settings
        options = error if isinstance(error, ValidationError) and error.title == ServerSettings.__name__ else None
        mistakes = [*(ServerSettings.explain(options) if options else ()), *Settings.mistakes()]
        print(*dict.fromkeys(mistakes or [str(error)]), sep="\n", file=sys.stderr)
        return 78
    uvicorn.run(
        "app.main:app",
        host=settings.host,
        port=settings.port,
        reload=reload,
        reload_dirs=[str(ROOT / "app")] if reload else None,
        workers=settings.workers,
        limit_max_requests=settings.max_requests,
        limit_max_requests_jitter=settings.max_requests_jitter,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.graceful_timeout,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        server_header=False,
        access_log=False,
        log_config=None,
        # {% if websockets %}
        ws=Protocol,
        ws_max_size=messages.max_message_bytes,
        ws_per_message_deflate=False,  # a few bytes would become many
        # {% endif %}
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
