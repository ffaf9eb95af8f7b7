"""Connections of clients: how many there may be, what they speak, and when they are over."""

from __future__ import annotations

from mlops_backend.connections.connection import Connection
from mlops_backend.connections.installing import install, register_for
from mlops_backend.connections.listener import Listener, listen
from mlops_backend.connections.register import Register, Rules
from mlops_backend.connections.serving import serve

__all__ = ["Connection", "Listener", "Register", "Rules", "install", "listen", "register_for", "serve"]
