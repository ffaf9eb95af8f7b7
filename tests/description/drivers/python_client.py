"""A walk with the client that openapi-python-client makes."""

import json
import os
import time

from made import AuthenticatedClient
from made.api.conversations import create_conversation, export_conversations, send_message, update_conversation
from made.api.keys import create_key, get_key, list_keys, revoke_key, rotate_key, update_key
from made.api.llm import check_backends, generate, stream
from made.api.ollama import generate_natively
from made.api.service import check_readiness
from made.api.usage import export_all_usage, export_usage, get_generation, get_usage
from made.models import (
    AskRequest,
    ChangeConversationRequest,
    CreateConversationRequest,
    CreateKeyRequest,
    CreateKeyRequestMetadata,
    GenerateNativelyBody,
    GenerateRequest,
    KeyLimits,
    RotateKeyRequest,
    UpdateKeyRequest,
)

MODEL = os.environ["MODEL"]


def client(key):
    return AuthenticatedClient(
        os.environ["URL"], token=key, prefix="", auth_header_name="X-API-Key", raise_on_unexpected_status=True
    )


def until(ask):
    for _ in range(100):
        if done := ask():
            return done
        time.sleep(0.05)
    raise SystemExit("the ledger does not come")


admin = client(os.environ["ADMIN_KEY"])
told = {}
metadata = CreateKeyRequestMetadata.from_dict({"team": "blue"})
limits = KeyLimits(requests="60/minute", tokens_per_day=None)
made = create_key.sync(
    client=admin, body=CreateKeyRequest("walker", owner="alice@example.org", limits=limits, metadata=metadata)
)
told["made"] = made.to_dict()
told["disabled"] = update_key.sync(made.id, client=admin, body=UpdateKeyRequest(enabled=False)).to_dict()
told["renamed"] = update_key.sync(made.id, client=admin, body=UpdateKeyRequest(name="runner")).to_dict()
told["looked at"] = get_key.sync(made.id, client=admin).to_dict()
told["enabled"] = update_key.sync(made.id, client=admin, body=UpdateKeyRequest(enabled=True)).to_dict()
told["listed"] = [key.id for key in list_keys.sync(client=admin, owner="alice@example.org").keys]

own = client(made.key)
asked = GenerateRequest(prompt="Hi", model=MODEL)
told["whole"] = generate.sync(client=own, body=asked).response
told["streamed"] = [json.loads(line)["response"] for line in stream.sync(client=own, body=asked).splitlines()]
told["not found"] = generate.sync(client=own, body=GenerateRequest(prompt="Hi", model="nobody")).to_dict()
natively = GenerateNativelyBody.from_dict({"model": "nobody", "prompt": "Hi"})
told["not found by Ollama"] = generate_natively.sync(client=own, body=natively).to_dict()
told["unknown key"] = generate.sync(client=client("nobody-s-key"), body=asked).to_dict()
told["health"] = check_backends.sync(client=own).status.value
told["readiness"] = check_readiness.sync(client=own).status.value

table = until(lambda: (found := get_usage.sync(client=own)).total.generations >= 4 and found)
told["tokens"] = table.total.completion_tokens
told["csv"] = export_usage.sync(client=own)
told["all csv"] = export_all_usage.sync(client=admin, key=made.id)
told["generation"] = get_generation.sync(told["csv"].splitlines()[1].partition(",")[0], client=own).model

begun = create_conversation.sync(client=own, body=CreateConversationRequest(title="One", model=MODEL))
changed = update_conversation.sync(begun.id, client=own, body=ChangeConversationRequest(title="Two"))
other = ChangeConversationRequest(title="Three")
told["other version"] = update_conversation.sync(begun.id, client=own, if_match='"7"', body=other).to_dict()
told["conversation"] = [begun.to_dict(), changed.to_dict()]
told["reply"] = send_message.sync(begun.id, client=own, body=AskRequest(content="Hi", stream=False)).message.to_dict()
told["exported"] = export_conversations.sync(client=own).to_dict()["conversations"][0]["title"]

limited = create_key.sync(client=admin, body=CreateKeyRequest("limited", limits=KeyLimits(requests="1/day")))
told["limited"] = [generate.sync(client=client(limited.key), body=asked).to_dict() for _ in range(2)][1]
told["rotated"] = rotate_key.sync(made.id, client=admin, body=RotateKeyRequest(overlap_seconds=60)).to_dict()
told["revoked"] = revoke_key.sync(made.id, client=admin).to_dict()
print(json.dumps(told))
