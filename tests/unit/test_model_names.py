"""Names of models: which are one, and which lead to somebody else's servers."""

from __future__ import annotations

import pytest

from mlops_backend.errors import Forbidden
from mlops_backend.services.llm.model_names import ModelRules, canonical, is_cloud

# What Ollama takes for one model: types/model/name.go has the defaults, names are compared in any case.
SAME = [
    "llama3",
    "LLAMA3",
    " llama3\n",
    "llama3:latest",
    "llama3:local",
    "library/llama3",
    "Library/Llama3:Latest",
    "registry.ollama.ai/library/llama3",
    "registry.ollama.ai/library/llama3:latest",
    "https://registry.ollama.ai/library/llama3",
]
OTHERS = [
    "llama3:8b",
    "mine/llama3",
    "registry.ollama.ai/llama3",
    "hf.co/library/llama3",
    "library/library/llama3",
    "llama3/latest",
    "xllama3",
    "",
]


@pytest.mark.parametrize("name", SAME)
def test_one_model_has_one_canonical_name(name: str) -> None:
    """However it is written."""
    assert canonical(name) == "llama3:latest"


def test_other_models_have_others() -> None:
    """No two of them are mixed up, with each other or with that one."""
    names = [canonical(name) for name in OTHERS]
    assert len({*names, "llama3:latest"}) == len(OTHERS) + 1


@pytest.mark.parametrize(
    "name",
    [
        "gpt-oss:cloud",
        "gpt-oss:120b-cloud",
        "GPT-OSS:120B-CLOUD",
        " deepseek:cloud ",
        "mine/model:cloud",
        "registry.ollama.ai/library/gpt-oss:120b-cloud",
        "x:cloud:local",
        "x:local:cloud",
        "x:cloud@sha256:00",
    ],
)
def test_cloud_models_are_known_by_their_names(name: str) -> None:
    """In any case and with anything behind it that might be cut off again."""
    assert is_cloud(name)
    with pytest.raises(Forbidden, match="ALLOW_CLOUD_MODELS"):
        ModelRules(allow_cloud=False).check(["llama3", name], None)
    ModelRules(allow_cloud=True).check([name], None)


@pytest.mark.parametrize(
    "name", ["", "cloud", "cloud:latest", "my-cloud", "my-cloud:7b", "mycloud:x", "x:cloudy", "x:mycloud", "cloud/x:7b"]
)
def test_local_models_may_have_clouds_in_their_names(name: str) -> None:
    """Only the tag counts."""
    assert not is_cloud(name)
    ModelRules(allow_cloud=False).check([name], None)


def test_a_namespace_stays() -> None:
    """Only the registry's own is left out."""
    assert canonical("registry.ollama.ai/mine/llama3") == canonical("Mine/llama3:latest") == "mine/llama3:latest"
