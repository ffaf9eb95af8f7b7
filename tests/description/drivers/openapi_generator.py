"""A walk with the client that OpenAPI Generator makes for Python."""

import json
import os
import time

from made import (
    ApiClient,
    ApiException,
    AskRequest,
    ChangeConversationRequest,
    Configuration,
    ConversationsApi,
    CreateConversationRequest,
    CreateKeyRequest,
    GenerateRequest,
    KeyLimits,
    KeysApi,
    LlmApi,
    OllamaApi,
    RotateKeyRequest,
    ServiceApi,
    UpdateKeyRequest,
    UsageApi,
)

MODEL = os.environ["MODEL"]


def client(key):
    return ApiClient(Configuration(host=os.environ["URL"], api_key={"ApiKey": key}))


def refused(ask):
    try:
        ask()
    except ApiException as error:
        return error.data.to_dict()
    raise SystemExit("it was not refused")


def until(ask):
    for _ in range(100):
        if done := ask():
            return done
        time.sleep(0.05)
    raise SystemExit("the ledger does not come")


admin = client(os.environ["ADMIN_KEY"])
keys = KeysApi(admin)
told = {}
made = keys.create_key(
    CreateKeyRequest(
        name="walker",
        owner="alice@example.org",
        limits=KeyLimits(requests="60/minute", tokens_per_day=None),
        metadata={"team": "blue"},
    )
)
told["made"] = made.to_dict()
told["disabled"] = keys.update_key(made.id, UpdateKeyRequest(enabled=False)).to_dict()
told["renamed"] = keys.update_key(made.id, UpdateKeyRequest(name="runner")).to_dict()
told["looked at"] = keys.get_key(made.id).to_dict()
told["enabled"] = keys.update_key(made.id, UpdateKeyRequest(enabled=True)).to_dict()
told["listed"] = [key.id for key in keys.list_keys(owner="alice@example.org").keys]

own = client(made.key)
llm, usage, conversations = LlmApi(own), UsageApi(own), ConversationsApi(own)
asked = GenerateRequest(prompt="Hi", model=MODEL)
told["whole"] = llm.generate(asked).response
lines = llm.stream_without_preload_content(asked).stream()
told["streamed"] = [json.loads(line)["response"] for line in b"".join(lines).splitlines()]
told["not found"] = refused(lambda: llm.generate(GenerateRequest(prompt="Hi", model="nobody")))
told["not found by Ollama"] = refused(lambda: OllamaApi(own).generate_natively({"model": "nobody", "prompt": "Hi"}))
told["unknown key"] = refused(lambda: LlmApi(client("nobody-s-key")).generate(asked))
told["health"] = llm.check_backends().status
told["readiness"] = ServiceApi(own).check_readiness().status

table = until(lambda: (found := usage.get_usage()).total.generations >= 4 and found)
told["tokens"] = table.total.completion_tokens
told["csv"] = usage.export_usage()
told["all csv"] = UsageApi(admin).export_all_usage(key=made.id)
told["generation"] = usage.get_generation(told["csv"].splitlines()[1].partition(",")[0]).model

begun = conversations.create_conversation(CreateConversationRequest(title="One", model=MODEL))
changed = conversations.update_conversation(begun.id, ChangeConversationRequest(title="Two"))
other = ChangeConversationRequest(title="Three")
told["other version"] = refused(lambda: conversations.update_conversation(begun.id, other, if_match='"7"'))
told["conversation"] = [begun.to_dict(), changed.to_dict()]
told["reply"] = conversations.send_message(begun.id, AskRequest(content="Hi", stream=False)).message
told["exported"] = conversations.export_conversations().to_dict()["conversations"][0]["title"]

limited = keys.create_key(CreateKeyRequest(name="limited", limits=KeyLimits(requests="1/day")))
LlmApi(client(limited.key)).generate(asked)
told["limited"] = refused(lambda: LlmApi(client(limited.key)).generate(asked))
told["rotated"] = keys.rotate_key(made.id, RotateKeyRequest(overlap_seconds=60)).to_dict()
told["revoked"] = keys.revoke_key(made.id).to_dict()
print(json.dumps(told, default=str))
