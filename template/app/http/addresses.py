"""What counts as one address."""

from contextlib import suppress
from ipaddress import IPv6Address


def network(address: str | None) -> str:
    """Return the address itself, or the network (/64) of one of IPv6, whose owner has all of that."""
    if address is None:  # a local socket
        return "unknown"
    if ":" in address:
        with suppress(ValueError):  # something else, that a proxy has given
            ip = IPv6Address(address)
            return str(ip.ipv4_mapped or IPv6Address(int(ip) >> 64 << 64))
    return address
