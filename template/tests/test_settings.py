"""Settings are safe when nobody has thought of them."""

import pytest
from pydantic import ValidationError

from app.settings import Environment, Settings


def test_an_unset_environment_means_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE_ENVIRONMENT")

    assert Settings().environment is Environment.PRODUCTION


def test_an_unknown_environment_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENVIRONMENT", "hunter2")

    with pytest.raises(ValidationError, match="SERVICE_ENVIRONMENT") as caught:
        Settings()

    assert "hunter2" not in str(caught.value)
