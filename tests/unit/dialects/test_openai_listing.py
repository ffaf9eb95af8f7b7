"""The models of `/v1/models` in the shapes of Ollama's `/api/tags`, `/api/ps` and `/api/show`."""

from typing import Any

import pytest

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects.openai.listing import entries, running, shown, tag

DIGEST = "b179" * 16
KNOWN = {"size": 98362432, "digest": DIGEST, "modified_at": "2026-11-23T03:14:30.058248Z", "family": "llama"}
ENTRY = {
    "id": "smollm2:135m",
    "created": 1795527443,
    "meta": {
        "n_params": 134515008,
        "ftype": "Q4_1",
        "n_ctx": 2048,
        "n_ctx_train": 8192,
        "n_embd": 576,
        "n_vocab": 49152,
        "size": 96576768,
    },
}
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
}


def test_tags_join_what_the_engine_tells_and_what_is_known() -> None:
    """An entry of `/api/tags` from `/v1/models` and the model's file."""
    assert tag(ENTRY, KNOWN) == {
        "name": "smollm2:135m",
        "model": "smollm2:135m",
        "modified_at": "2026-11-23T03:14:30.058248Z",
        "size": 98362432,
        "digest": DIGEST,
        "details": DETAILS,
    }


def test_a_running_model_tells_what_is_loaded() -> None:
    """The context is the one that it was loaded with, and it is never unloaded."""
    loaded = running(ENTRY, KNOWN)
    assert loaded["size_vram"] == loaded["size"] == 98362432
    assert loaded["context_length"] == 2048
    assert loaded["expires_at"] == "2318-01-01T00:00:00Z"
    assert loaded["details"] == DETAILS


def test_a_shown_model_tells_its_figures_under_its_architecture() -> None:
    """Clients look for `<architecture>.context_length`."""
    answer = shown(ENTRY, KNOWN, {"tools", "completion"})
    assert answer["capabilities"] == ["completion", "tools"]
    assert answer["model_info"] == {
        "general.architecture": "llama",
        "general.basename": "smollm2:135m",
        "general.parameter_count": 134515008,
        "llama.context_length": 8192,
        "llama.embedding_length": 576,
        "llama.vocab_size": 49152,
    }


@pytest.mark.parametrize(
    "entry",
    [{"id": "m"}, {"id": "m", "created": "now", "meta": 3}, {"id": "m", "created": 1e300, "max_model_len": True}],
)
def test_what_is_unknown_has_a_value_that_clients_can_read(entry: dict[str, Any]) -> None:
    """A time that is one, a digest of full length, and no figures."""
    listed = tag(entry, {})
    assert listed["modified_at"] == "1970-01-01T00:00:00Z"
    assert len(listed["digest"]) == len(DIGEST)
    assert listed["details"]["families"] == []
    assert running(entry, {})["context_length"] == 0
    assert shown(entry, {}, ())["model_info"] == {}


def test_a_large_model_is_counted_in_billions() -> None:
    """As Ollama does."""
    assert tag({"id": "m", "meta": {"n_params": 8_030_000_000}}, {})["details"]["parameter_size"] == "8.0B"


def test_a_list_of_models_is_a_list_of_objects() -> None:
    """`null` is an empty one; anything else is nonsense."""
    assert entries(b'{"data": null}') == []
    assert entries(b'{"data": [{"id": "m"}, {}]}') == [{"id": "m"}]
    for wrong in (b"{}", b'{"data": [3]}', b'{"data": "x"}'):
        with pytest.raises(BackendNonsense):
            entries(wrong)
