"""What a command does, as the audit log has it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mlops_backend.services.other.audit import AuditLog


@dataclass
class Deed:
    """An action; its target may come to be known while it is done."""

    action: str
    target: str = ""
    changed: Sequence[str] = ()


async def audited(audit: AuditLog, deed: Deed, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work`, and have the audit log tell of it, by whoever has the shell.

    Raises:
        AuditUnavailable: that cannot be noted, and so nothing is done.
    """
    who = {"request_id": os.urandom(16).hex(), "key_id": "command", "principal": _user()}
    await audit.begin({"action": deed.action, "target": deed.target, **who})
    outcome = "error"
    try:
        await work()
        outcome = "done"
    finally:
        told = {"action": deed.action, "target": deed.target, "changed": deed.changed, "outcome": outcome}
        audit.end({**told, **who})
        await audit.aclose()


def _user() -> str:
    """The system's name for who runs this, which no variable of theirs changes."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number alone, as in a container
        return str(os.getuid())
