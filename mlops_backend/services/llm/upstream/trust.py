"""Whom to trust, where a backend speaks TLS: the authorities that the system trusts, or `SSL_CERT_FILE` names."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any, Final


class _Authorities(ssl.SSLContext):
    """Reads them at the first connection that needs them: they take 20 ms and a megabyte."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """A connection's TLS."""
        return _read().wrap_bio(*args, **kwargs)


AUTHORITIES: Final = _Authorities(ssl.PROTOCOL_TLS_CLIENT)


@cache
def _read() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    return context
