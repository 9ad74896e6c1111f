"""What each role may do; the table is yours."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

# A permission is `resource:action`; `orders:*` is every action on orders, `*` is everything.
ROLES: Mapping[str, Sequence[str]] = {
    "admin": ["*"],
    "auditor": ["audit:read", "users:read"],
    "user": [
        # features
        # {% if samples %}
        "items:read",
        "items:write",
        "rates:read",
        # {% endif %}
        # {% if tasks %}
        "tasks:read",
        # {% endif %}
        # this service
    ],
    # this service
}


def permissions(roles: Iterable[str]) -> frozenset[str]:
    """A role that the table has lost grants nothing."""
    return frozenset(permission for role in roles for permission in ROLES.get(role, ()))


def grants(permissions: frozenset[str], permission: str) -> bool:
    return not permissions.isdisjoint(matching(permission))


@cache
def matching(permission: str) -> frozenset[str]:
    """Return the entries that grant a permission; those of the code are few, so that they can be kept."""
    return frozenset({permission, f"{permission.partition(':')[0]}:*", "*"})
