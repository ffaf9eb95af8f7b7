"""What a key may know of itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from quart import Blueprint, g
from quart_schema import tag, validate_response

from mlops_backend.middleware.request_context import service
from mlops_backend.principal import Principal
from mlops_backend.schemas.keys import KeyLeftResponse, LimitLeft, OwnKeyResponse
from mlops_backend.services.other.keys import KeyCache
from mlops_backend.services.other.limits import LimitsLeft

blueprint = Blueprint("own_key", __name__, url_prefix="/api/key")


@blueprint.get("")
@tag(["keys"])
@validate_response(OwnKeyResponse)
async def get_own_key() -> OwnKeyResponse:
    """Say what the key that asks is good for.

    Its name, scopes, models (none: every model), the limits in force and those of each of its end users, its class and
    weight in the queue, whether answers are kept for it, and when it expires.
    """
    principal: Principal = g.principal
    expiry = service(KeyCache).expiry(principal.id)
    return OwnKeyResponse(
        id=principal.id,
        name=principal.name,
        scopes=sorted(principal.scopes),
        models=list(principal.models),
        limits=principal.limits.written(),
        end_user_limits=principal.end_user_limits.written(),
        priority=principal.priority,
        weight=principal.weight,
        cache=principal.cache,
        expires_at=None if expiry is None else datetime.fromtimestamp(expiry, UTC).isoformat(timespec="milliseconds"),
    )


@blueprint.get("/limits")
@tag(["keys"])
@validate_response(KeyLeftResponse)
async def get_own_limits_left() -> KeyLeftResponse:
    """Say what is left of the limits of the key that asks.

    Asking takes nothing of them. 503: the counters cannot be reached.
    """
    principal: Principal = g.principal
    left = [LimitLeft(**asdict(one)) for one in await service(LimitsLeft).of(principal)]
    return KeyLeftResponse(key_id=principal.id, limits=left)
