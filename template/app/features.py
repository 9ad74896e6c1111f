"""What the answers chose, in the order of installation; the template keeps this list."""

from collections.abc import Sequence

from app import (
    errors,
    health,
    http,
    logs,
    # {% if samples %}
    rates,
    # {% endif %}
)
from app.feature import Feature

FEATURES: Sequence[Feature] = [
    errors,
    logs,
    health,
    http,
    # {% if samples %}
    rates,
    # {% endif %}
]
