"""What the template brought, in the order of installation; it keeps this list."""

from collections.abc import Sequence

from app import (
    # {% if auth %}
    auth,
    # {% endif %}
    # {% if cache %}
    cache,
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
    # {% if rate_limit %}
    rate_limit,
    # {% endif %}
    # {% if samples %}
    rates,
    # {% endif %}
    # {% if tasks %}
    tasks,
    # {% endif %}
    # {% if websockets %}
    websockets,
    # {% endif %}
)
from app.feature import Feature

# {%- if auth and websockets +%}
from app.websockets import revocation, tickets

# {%- endif +%}

FEATURES: Sequence[Feature] = [
    errors,
    logs,
    health,
    http,
    # {% if database %}
    database,
    # {% endif %}
    # {% if cache %}
    cache,
    # {% endif %}
    # {% if auth %}
    auth,
    # {% endif %}
    # {% if rate_limit %}
    rate_limit,
    # {% endif %}
    # {% if tasks %}
    tasks,
    # {% endif %}
    # {% if websockets %}
    websockets,
    # {% endif %}
    # {% if auth and websockets %}
    tickets,
    revocation,
    # {% endif %}
    # {% if samples and database %}
    items,
    # {% endif %}
    # {% if samples %}
    rates,
    # {% endif %}
]
