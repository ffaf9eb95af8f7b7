"""The address of a Redis that Sentinels watch."""

from __future__ import annotations

import pytest

from mlops_backend.sentinel_address import host_and_port, sentinel_address


def test_all_of_it_is_read() -> None:
    """Each Sentinel's own port, or theirs; the name; two logins, of which no look at it shows any."""
    url = (
        "rediss+sentinel://us%40er:pa%2Fss@a,b:5,[::1]:6,[::2]/the.name/3"
        "?ssl_ca_certs=/ca.pem&sentinel_username=s%20u&sentinel_password=s%26p+x"
    )
    found = sentinel_address(url)
    assert found is not None
    assert [host_and_port(each) for each in found.authorities] == [("a", 26379), ("b", 5), ("::1", 6), ("::2", 26379)]
    assert (found.name, found.username, found.password) == ("the.name", "s u", "s&p x")
    assert found.server == "rediss://us%40er:pa%2Fss@localhost/3?ssl_ca_certs=/ca.pem"
    assert not any(word in repr(found) for word in ("us%40er", "pa%2Fss", "s u", "s&p x", "ssl"))


def test_the_least_of_it_is_enough() -> None:
    """A host and a name."""
    found = sentinel_address("redis+sentinel://a/name")
    assert found is not None
    assert (found.authorities, found.name, found.server) == (("a:26379",), "name", "redis://localhost")
    assert (found.username, found.password) == (None, None)


@pytest.mark.parametrize("url", ["", "redis://a/0", "rediss://a", "unix:///a", "sentinel://a/name", "redis+sentinel:a"])
def test_every_other_address_is_none(url: str) -> None:
    """Of Sentinels."""
    assert sentinel_address(url) is None
