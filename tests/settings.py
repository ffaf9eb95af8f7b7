"""Settings of the tests."""

from __future__ import annotations

from typing import Any

from mlops_backend.config import Settings

ADMIN_KEY = "admin-key-of-the-tests"
ORDINARY_KEY = "ordinary-key-of-the-tests"


def settings_for(*backends: str, **settings: Any) -> Settings:
    """Settings of a test: nothing from the environment, no embedded engine."""
    values: dict[str, Any] = {
        "api_key": ADMIN_KEY,
        "api_keys": f"tester:{ORDINARY_KEY}",
        "embedded_engine": "off",
        "auth_failure_limit": "off",
        "log_format": "json",
        # what is known of backends comes from what the test asks, and from nowhere else
        "probe_interval": "off",
        **({"ollama_base_url": ",".join(backends)} if backends else {}),
        **settings,
    }
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]
