"""The settings of those parts that have a module of their own, as one."""

from __future__ import annotations

from mlops_backend.setting_cache import CacheSettings
from mlops_backend.setting_console import ConsoleSettings
from mlops_backend.setting_stored import StoredSettings
from mlops_backend.setting_streams import StreamSettings
from mlops_backend.setting_traces import TraceSettings


class PartSettings(CacheSettings, ConsoleSettings, StoredSettings, StreamSettings, TraceSettings):
    """A part of `Settings`."""
