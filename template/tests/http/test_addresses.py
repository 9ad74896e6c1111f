"""Whoever has a network of IPv6 has 2^64 addresses, and is one caller all the same."""

import pytest

from app.http.addresses import network


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("no:address", "no:address"),
        ("", ""),
        (None, "unknown"),
    ],
)
def test_an_address_counts_as_its_network(address: str | None, counted: str) -> None:
    assert network(address) == counted
