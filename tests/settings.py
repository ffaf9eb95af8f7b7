"""Settings of the tests."""

from __future__ import annotations

import os
from typing import Any, Final

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from mlops_backend.config import Settings

ADMIN_KEY = "admin-key-of-the-tests"
ORDINARY_KEY = "ordinary-key-of-the-tests"
VARIABLES: Final = {name: name.upper() for name in Settings.model_fields}


class GivenSettings(Settings):
    """Settings that are given: looking for each in environment and files is a third of what a service's start takes."""

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
    """Settings of a test: nothing but what it set in the environment itself, no embedded engine."""
    values: dict[str, Any] = {
        **{name: os.environ[variable] for name, variable in VARIABLES.items() if variable in os.environ},
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
