"""Who gets in: decided here, by the matched route, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, cast

from quart import Request, g
from werkzeug.datastructures import Headers

from mlops_backend.config import PLACEHOLDER_KEY
from mlops_backend.errors import AppError, Forbidden, MethodNotAllowed, NotFound, Unauthorized
from mlops_backend.middleware.access import SCOPES, TABLE, Access, Methods, may
from mlops_backend.middleware.asgi import Scope, path_of
from mlops_backend.middleware.audit import note_action
from mlops_backend.middleware.client_address import client_address, is_from_this_machine
from mlops_backend.middleware.console_session import Session, Sessions, refuse_forged, token_in
from mlops_backend.middleware.guess_guard import GuessGuard, presented_keys
from mlops_backend.principal import ANONYMOUS, Principal
from mlops_backend.services.other.keys import KeyStore
from mlops_backend.setting_addresses import Network
from mlops_backend.shares import ASKING
from mlops_backend.telemetry.record import RequestRecord

_NOT_IN_TABLE: Final = "This route is for nobody yet: it does not stand in the table of routes."
_PLACEHOLDER: Final = sha256(PLACEHOLDER_KEY.encode()).digest()
_ACCOUNT: Final = (
    "This route acts as the owner of the Ollama server; ALLOW_ACCOUNT_ROUTES and the administrator's key open it."
)


@dataclass(frozen=True, slots=True)
class Decision:
    """Who asks, if anybody was asked; `error` keeps them out. `generates`: it is, or would have been, a generation."""

    principal: Principal | None
    error: AppError | None = None
    generates: bool = False
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The policy: keys, the table of routes, and the switches that open parts of it."""

    keys: KeyStore
    auth_enabled: bool
    docs_enabled: bool
    account_routes: bool = False
    anonymous: Principal = ANONYMOUS
    table: Mapping[str, Methods] = field(default_factory=lambda: TABLE)
    console_enabled: bool = False
    sessions: Sessions | None = None

    async def session_of(self, method: str, route: str | None, headers: Headers) -> Session | None:
        """The browser's session that a request stands on: where somebody is asked, and no key is presented.

        Raises:
            Unauthorized: it has ended.
            DatabaseDown: nobody can tell.
        """
        if self.sessions is None or not (token := token_in(headers)) or presented_keys(headers):
            return None
        if self._is_open(method, route, self._access(method, route), headers):
            return None
        if (session := await self.sessions.find(token)) is None and self.auth_enabled:
            raise Unauthorized("The session has ended; sign in again.")
        return session

    def authorise(
        self, method: str, route: str | None, headers: Headers, peer: str, session: Session | None = None
    ) -> Decision:
        """Decide on one request.

        Args:
            method: the HTTP method.
            route: the matched rule as it was registered, `None` for an unknown path; never a URL.
            headers: the request's own.
            peer: address of the other end of the connection.
            session: what `session_of` has found.

        Returns:
            Who asks, and what keeps them out: `Forbidden` for a key that may not do this, `MethodNotAllowed`.

        Raises:
            Unauthorized: no key, an unknown one, or two that differ.
            Forbidden: the placeholder key from anywhere but this machine; a session that another page uses.
            DatabaseDown: whether the key is known cannot be told.
        """
        methods = self.table.get(route, {}) if route is not None else {}
        access = self._access(method, route)
        if self._is_open(method, route, access, headers):
            return Decision(None)
        if session is not None:
            refuse_forged(session, method, headers)
        principal = self._identify(headers, peer) if session is None else self._signed_in(session, headers, peer)
        if route is None or (method == "OPTIONS" and methods):
            return Decision(principal)
        if access is None:
            return Decision(principal, MethodNotAllowed(*methods, "OPTIONS") if methods else Forbidden(_NOT_IN_TABLE))
        allowed = may(principal, access, account_routes=self.account_routes)
        return Decision(principal, None if allowed else _refusal(access), access is Access.INFERENCE, access)

    def _access(self, method: str, route: str | None) -> Access | None:
        return None if route is None else self.table.get(route, {}).get(method)

    def _is_open(self, method: str, route: str | None, access: Access | None, headers: Headers) -> bool:
        if route is None:
            return False
        if access is Access.OPEN or (method == "OPTIONS" and _is_preflight(headers)):
            return True
        browser = (method, route) == ("GET", "/") and wants_html(headers)
        return (self.docs_enabled and access is Access.DOCS) or (
            browser and (self.docs_enabled or self.console_enabled)
        )

    def _signed_in(self, session: Session, headers: Headers, peer: str) -> Principal:
        _refuse_placeholder(session.digest == _PLACEHOLDER, headers, peer)
        return session.principal

    def _identify(self, headers: Headers, peer: str) -> Principal:
        presented = presented_keys(headers)
        if not presented and not self.auth_enabled:
            return self.anonymous
        if not presented:
            raise Unauthorized("An API key is needed, in X-API-Key or as Authorization: Bearer.")
        known = [{key: found for key in readings if (found := self.keys.find(key))} for readings in presented]
        if not all(known):
            raise Unauthorized("The API key is not known.")
        owners = {key: owner for found in known for key, owner in found.items()}
        if len(owners) > 1:
            raise Unauthorized("The request carries several keys that differ.")
        ((key, principal),) = owners.items()
        _refuse_placeholder(key == PLACEHOLDER_KEY.encode(), headers, peer)
        return principal


def _refuse_placeholder(presented: bool, headers: Headers, peer: str) -> None:
    if presented and not is_from_this_machine(headers, peer):
        raise Forbidden(
            "The placeholder API key works from this machine only; the operator must set API_KEY to a secret."
        )


def _refusal(access: Access) -> Forbidden:
    if access is Access.ACCOUNT:
        return Forbidden(_ACCOUNT)
    return Forbidden(f"This route needs a key with the scope {SCOPES[access].value}.")


def wants_html(headers: Headers) -> bool:
    """Whether `Accept` names HTML, as browsers do."""
    return "text/html" in headers.get("Accept", "").lower()


def wants_json(headers: Headers) -> bool:
    """Whether `Accept` names JSON, as callers of our own API do."""
    return "application/json" in headers.get("Accept", "").lower()


async def authenticate_with(
    asked: Request, noted: RequestRecord, gate: Gate, trusted_proxies: Sequence[Network], guard: GuessGuard
) -> None:
    """Put a request before the gate, and note who asks; called by the `before_request` hook."""
    scope, headers = cast(Scope, asked.scope), asked.headers
    # The router takes //health for /health; a route has one name here.
    named = asked.url_rule if not path_of(scope).startswith("//") else None
    route = named.rule if named is not None else None
    peer = (scope.get("client") or ("", 0))[0]
    noted.route = route or ""
    noted.client = client_address(headers, peer, trusted_proxies) if trusted_proxies else peer
    try:
        session = await gate.session_of(asked.method, route, headers) if "Cookie" in headers else None
        decision = gate.authorise(asked.method, route, headers, peer, session)
    except Unauthorized:
        await guard.failed(noted.client, headers)
        raise
    if decision.principal is not None:
        guard.known(noted.client, headers)
    g.principal, g.session = decision.principal, session
    noted.caller, noted.generates = decision.principal, decision.generates
    note_action(noted, asked, decision.access, allowed=decision.error is None)
    ASKING.set(decision.principal.id if decision.principal is not None else "nobody")
    if decision.error is not None:
        raise decision.error
    if route is None and asked.url_rule is not None:
        raise NotFound("There is no such route.")


def _is_preflight(headers: Headers) -> bool:
    return "Origin" in headers and "Access-Control-Request-Method" in headers
