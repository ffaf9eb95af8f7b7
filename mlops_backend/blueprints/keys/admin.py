"""Keys in the database, for administrators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from pydantic import ValidationError
from quart import Blueprint, request
from quart.typing import ResponseReturnValue
from quart_schema import (
    RequestSchemaValidationError,
    document_request,
    document_response,
    tag,
    validate_querystring,
    validate_request,
)

from mlops_backend.middleware.request_context import record, service
from mlops_backend.middleware.root_path import public_path
from mlops_backend.schemas.keys import (
    CreateKeyRequest,
    KeyLeftResponse,
    KeyListResponse,
    KeyResponse,
    KeyWithSecretResponse,
    ListKeysQuery,
    RotateKeyRequest,
    UpdateKeyRequest,
)
from mlops_backend.services.other.keys import ApiKeys
from mlops_backend.services.other.limits import LimitsLeft

blueprint = Blueprint("admin_keys", __name__, url_prefix="/api/admin/keys")

_SECRET: Final = {"Cache-Control": "no-store"}


@blueprint.post("")
@tag(["keys"])
@document_response(KeyWithSecretResponse, 201)
@validate_request(CreateKeyRequest)
async def create_key(data: CreateKeyRequest) -> ResponseReturnValue:
    """Make a key.

    `key` is shown this once: only its hash is kept. Limits that are left out are the service's defaults, `null` is no
    limit. An administrator's key has the scope `admin`, which includes all others.
    """
    record().changed = tuple(sorted(data.model_fields_set))
    key, secret = await service(ApiKeys).create(data)
    record().target = key.id
    headers = {**_SECRET, "Location": public_path(f"/api/admin/keys/{key.id}")}
    return {**key.shown(), "key": secret}, 201, headers


@blueprint.get("")
@tag(["keys"])
@document_response(KeyListResponse, 200)
@validate_querystring(ListKeysQuery)
async def list_keys(query_args: ListKeysQuery) -> ResponseReturnValue:
    """List the keys, oldest first, or newest first.

    A page at a time: `next`, unless it is `null`, is the next page's `after`. Keys of the environment are told by name.
    """
    keys, following = await service(ApiKeys).page(query_args)
    configured = [{"id": one.id, "name": one.name} for one in service(ApiKeys).configured]
    return {"keys": [key.shown() for key in keys], "next": following, "configured": configured}


@blueprint.get("/<key_id>")
@tag(["keys"])
@document_response(KeyResponse, 200)
async def get_key(key_id: str) -> ResponseReturnValue:
    """Look at a key.

    Revoked ones stay, since the ledger names them.
    """
    return (await service(ApiKeys).get(key_id)).shown()


@blueprint.get("/<key_id>/limits")
@tag(["keys"])
@document_response(KeyLeftResponse, 200)
async def get_limits_left(key_id: str) -> ResponseReturnValue:
    """Say what is left of a key's limits.

    Of those in force, as its generations count against them; nothing is taken. One of `API_KEYS` is `settings:NAME`
    here. 503: the counters cannot be reached.
    """
    left = await service(LimitsLeft).of(await service(ApiKeys).principal(key_id))
    return {"key_id": key_id, "limits": [asdict(one) for one in left]}


@blueprint.patch("/<key_id>")
@tag(["keys"])
@document_response(KeyResponse, 200)
@validate_request(UpdateKeyRequest)
async def update_key(key_id: str, data: UpdateKeyRequest) -> ResponseReturnValue:
    """Change a key.

    What is left out stays as it is; `models`, `limits` and `metadata` are replaced whole. Every worker takes the change
    over within a second, as it does every other.
    """
    record().changed = tuple(sorted(data.model_fields_set))
    return (await service(ApiKeys).update(key_id, data)).shown()


@blueprint.delete("/<key_id>")
@tag(["keys"])
@document_response(KeyResponse, 200)
async def revoke_key(key_id: str) -> ResponseReturnValue:
    """Revoke a key, for good.

    Its secrets are deleted, and within an hour its stored responses; the key itself stays to be looked at. Revoking it
    again changes nothing.
    """
    return (await service(ApiKeys).revoke(key_id)).shown()


@blueprint.post("/<key_id>/rotate")
@tag(["keys"])
@document_response(KeyWithSecretResponse, 200)
@document_request(RotateKeyRequest)
async def rotate_key(key_id: str) -> ResponseReturnValue:
    """Give a key a new secret.

    `key` is shown this once. The secret before it works for `overlap_seconds` more, 0 when the body is left out; one
    that was still in such an overlap ends at once.
    """
    overlap = (await _rotation()).overlap_seconds
    key, secret = await service(ApiKeys).rotate(key_id, overlap)
    return {**key.shown(), "key": secret}, 200, _SECRET


async def _rotation() -> RotateKeyRequest:
    if not await request.get_data(as_text=False):
        return RotateKeyRequest()
    try:
        return RotateKeyRequest.model_validate(await request.get_json())
    except ValidationError as error:
        raise RequestSchemaValidationError(error) from None
