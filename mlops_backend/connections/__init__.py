"""Connections of clients: how many there may be, what they speak, and when they are over."""

from __future__ import annotations

from mlops_backend.address import listen
from mlops_backend.connections.connection import Connection
from mlops_backend.connections.installing import install, register_for
from mlops_backend.connections.listener import Listener
from mlops_backend.connections.register import Others, Register, Rules
from mlops_backend.connections.serving import serve

__all__ = ["Connection", "Listener", "Others", "Register", "Rules", "install", "listen", "register_for", "serve"]
