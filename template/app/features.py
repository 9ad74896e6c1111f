"""What the answers chose, in the order of installation; the template keeps this list."""

from collections.abc import Sequence

from app import (
    # {% if auth %}
    auth,
    # {% endif %}
    # {% if database %}
    database,
    # {% endif %}
    errors,
    health,
    http,
    # {% if samples and database %}
    items,
    # {% endif %}
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
    # {% if database %}
    database,
    # {% endif %}
    # {% if auth %}
    auth,
    # {% endif %}
    # {% if samples and database %}
    items,
    # {% endif %}
    # {% if samples %}
    rates,
    # {% endif %}
]
