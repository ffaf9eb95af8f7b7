"""What is audited: by the table of routes, so that no route that changes something can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from quart import Request

from mlops_backend.middleware.access import Access
from mlops_backend.principal import Principal
from mlops_backend.services.other.audit import AuditLog
from mlops_backend.telemetry.record import RequestRecord

AUDITED: Final = frozenset({Access.ADMIN, Access.MODELS_WRITE, Access.ACCOUNT})
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CANCEL: Final = ("DELETE", "/api/llm/generations/<request_id>")
_END_STREAM: Final = ("DELETE", "/api/llm/streams/<stream_id>")
_SIGN_IN: Final = ("POST", "/api/console/session")
# What anybody may do for themselves.
_OF_ADMINISTRATORS: Final = frozenset({_CANCEL, _END_STREAM, _SIGN_IN})
# Who knows such an address may read what stands behind it: its view says of which request that is.
_SECRET_ADDRESSES: Final = frozenset({_END_STREAM[1]})
# Nothing has been done for these, and somebody may have them written as often as requests come.
_REFUSED: Final = frozenset({401, 403, 429})

# A route that has no name here is called by its method and its path.
ACTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("POST", "/api/admin/keys"): "key.create",
    ("PATCH", "/api/admin/keys/<key_id>"): "key.update",
    ("DELETE", "/api/admin/keys/<key_id>"): "key.revoke",
    ("POST", "/api/admin/keys/<key_id>/rotate"): "key.rotate",
    ("DELETE", "/api/admin/keys/<key_id>/conversations"): "conversations.delete",
    ("DELETE", "/api/admin/keys/<key_id>/responses"): "responses.delete",
    ("DELETE", "/api/admin/keys/<key_id>/sessions"): "sessions.end",
    _SIGN_IN: "console.sign_in",
    ("POST", "/api/admin/backends/<path:name>/drain"): "backend.drain",
    ("POST", "/api/admin/backends/<path:name>/resume"): "backend.resume",
    ("POST", "/api/admin/backends/<path:name>/probe"): "backend.probe",
    ("PUT", "/api/admin/log-level"): "log_level.set",
    _CANCEL: "generation.cancel",
    _END_STREAM: "stream.end",
    ("POST", "/api/pull"): "model.pull",
    ("POST", "/api/push"): "model.push",
    ("POST", "/api/create"): "model.create",
    ("POST", "/api/copy"): "model.copy",
    ("DELETE", "/api/delete"): "model.delete",
    ("POST", "/api/blobs/<digest>"): "model.upload",
    ("POST", "/api/me"): "account.show",
    ("POST", "/api/signout"): "account.sign_out",
    ("DELETE", "/api/user/keys/<key>"): "account.sign_out",
    ("POST", "/api/experimental/web_search"): "account.web_search",
    ("POST", "/api/experimental/web_fetch"): "account.web_fetch",
}


def action_of(method: str, route: str | None, access: Access | None, who: Principal | None, *, allowed: bool) -> str:
    """What is to be audited, in a word; empty: nothing is.

    What changes something, and what somebody tried who may not, be it to read.
    """
    if route is None or who is None:
        return ""
    if (method, route) in _OF_ADMINISTRATORS:
        return ACTIONS[method, route] if who.admin else ""
    if access not in AUDITED or (allowed and method in _READING):
        return ""
    return ACTIONS.get((method, route), f"{method} {route}")


def note_action(noted: RequestRecord, asked: Request, access: Access | None, *, allowed: bool) -> None:
    """Note the action of the request at hand, and to what its address says that it is done."""
    noted.action = action_of(noted.method, noted.route or None, access, noted.caller, allowed=allowed)
    if noted.action and noted.route not in _SECRET_ADDRESSES:
        noted.target = "/".join(map(str, (asked.view_args or {}).values()))


async def begin_audited(audit: AuditLog, noted: RequestRecord) -> None:
    """Have the action of a request noted before it is done.

    Raises:
        AuditUnavailable: it cannot be, and so the action is refused.
    """
    if noted.action:
        await audit.begin(_entry(noted))


def end_audited(audit: AuditLog, noted: RequestRecord) -> None:
    """Have it noted how the action of a request has ended."""
    if noted.action:
        ended = {"status": noted.status, "outcome": noted.outcome, "error": noted.error, "changed": noted.changed}
        audit.end({**_entry(noted), **ended}, sync=noted.status not in _REFUSED)


def _entry(noted: RequestRecord) -> dict[str, Any]:
    who = noted.caller
    return {
        "action": noted.action,
        "target": noted.target or noted.model,
        "request_id": noted.id,
        "principal": "" if who is None else who.name,
        "key_id": "" if who is None else who.id,
        "client": noted.client,
        "method": noted.method,
        "route": noted.route,
    }
