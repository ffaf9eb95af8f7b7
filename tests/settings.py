"""Settings of the tests."""

from __future__ import annotations

from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from mlops_backend.config import Settings

ADMIN_KEY = "admin-key-of-the-tests"
ORDINARY_KEY = "ordinary-key-of-the-tests"


class GivenSettings(Settings):
    """Settings that are given and nothing else: looking for each in the environment is a third of a service's start."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the constructor was given."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


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
    return GivenSettings(**values)
