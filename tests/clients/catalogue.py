"""The clients: what each is made of, which protocol it speaks, and how its user sets the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tests.clients.environments import Packages


class Wire(StrEnum):
    """What a client speaks."""

    OLLAMA = "Ollama"
    CHAT = "OpenAI, chat completions"
    RESPONSES = "OpenAI, responses"
    MESSAGES = "Anthropic"


class Sight(StrEnum):
    """How an agent is shown a picture."""

    NONE = "it takes none"
    GIVEN = "with the prompt"
    READ = "by its tool that reads files"


@dataclass(frozen=True)
class Agent:
    """A program that always offers tools of its own, and carries calls out.

    Its tool that reads a file is `tool`; in `arguments` `{file}` stands for the file.
    """

    tool: str
    arguments: Mapping[str, Any]
    sight: Sight = Sight.GIVEN

    def reading(self, file: Path) -> dict[str, str]:
        """The arguments with which its tool reads a file."""
        return {name: text.format(file=file) for name, text in self.arguments.items()}


@dataclass(frozen=True)
class Client:
    """One row of the table.

    Attributes:
        name: as its users call it.
        driver: the program in `drivers` that uses it.
        packages: what it is made of.
        wire: what it speaks.
        key: how its user sets the key; for the page.
        agent: what it is as an agent; a library is none.
        embeds: whether it has embeddings.
        raises: the class of its errors for a model that is not there, if it is one of its own.
        faults: what it does wrong itself, by the step or the backend; that it still does is asserted.
        also: another of the packages, whose version is told too.
    """

    name: str
    driver: str
    packages: Packages
    wire: Wire
    key: str
    agent: Agent | None = None
    embeds: bool = True
    raises: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)
    also: str = ""

    @property
    def version(self) -> str:
        """What is pinned: of the first package, and of that in `also`."""
        more = self.packages.version_of(self.also)
        return f"{self.packages.version}, {more}" if more else self.packages.version


AI_SDK: Final = (
    "ai@7.0.173",
    "@ai-sdk/openai@4.0.118",
    "@ai-sdk/openai-compatible@3.0.92",
    "@ai-sdk/anthropic@4.0.105",
    "ollama-ai-provider-v2@4.0.1",
    "ai-sdk-ollama@4.3.0",
    "zod@4.6.7",
)
HEADER: Final = '`headers={"X-API-Key": key}`'
SDK_HEADER: Final = '`headers: { "X-API-Key": key }`'
OLLAMA_VARIABLE: Final = "`OLLAMA_API_KEY` in the environment"


def of(*pins: str) -> Packages:
    """Packages with these pins."""
    return Packages(pins)


def ai_sdk(provider: str, driver: str, wire: Wire, key: str, *, embeds: bool = True) -> Client:
    """The AI SDK with one of its providers."""
    return Client(f"AI SDK with {provider}", driver, Packages(AI_SDK), wire, key, embeds=embeds, also=provider)


CLIENTS: Final = (
    Client("ollama (Python)", "ollama_python.py", of("ollama==0.6.3"), Wire.OLLAMA, HEADER, raises="ResponseError"),
    Client("ollama (JavaScript)", "ollama_js.mjs", of("ollama@0.6.4"), Wire.OLLAMA, SDK_HEADER, raises="ResponseError"),
    Client(
        "openai (Python)", "openai_python.py", of("openai==3.57.0"), Wire.CHAT, "`api_key=key`", raises="NotFoundError"
    ),
    Client(
        "openai (Python), responses",
        "openai_responses_python.py",
        of("openai==3.57.0"),
        Wire.RESPONSES,
        "`api_key=key`",
        embeds=False,
        raises="NotFoundError",
    ),
    Client(
        "openai (JavaScript)", "openai_js.mjs", of("openai@7.59.0"), Wire.CHAT, "`apiKey: key`", raises="NotFoundError"
    ),
    Client(
        "anthropic (Python)",
        "anthropic_python.py",
        of("anthropic==2.14.0"),
        Wire.MESSAGES,
        "`api_key=key`",
        embeds=False,
        raises="NotFoundError",
    ),
    Client(
        "@anthropic-ai/sdk",
        "anthropic_js.mjs",
        of("@anthropic-ai/sdk@1.14.0"),
        Wire.MESSAGES,
        "`apiKey: key`",
        embeds=False,
        raises="NotFoundError",
    ),
    ai_sdk("@ai-sdk/openai", "ai_sdk_openai.mjs", Wire.RESPONSES, "`createOpenAI({ apiKey: key })`"),
    ai_sdk(
        "@ai-sdk/openai-compatible",
        "ai_sdk_openai_compatible.mjs",
        Wire.CHAT,
        "`createOpenAICompatible({ apiKey: key })`",
    ),
    ai_sdk(
        "@ai-sdk/anthropic",
        "ai_sdk_anthropic.mjs",
        Wire.MESSAGES,
        "`createAnthropic({ apiKey: key })`, with `/v1` in `baseURL`",
        embeds=False,
    ),
    ai_sdk("ollama-ai-provider-v2", "ai_sdk_provider_v2.mjs", Wire.OLLAMA, f"{SDK_HEADER}, with `/api` in `baseURL`"),
    ai_sdk("ai-sdk-ollama", "ai_sdk_ollama.mjs", Wire.OLLAMA, "`createOllama({ apiKey: key })`"),
    Client(
        "langchain-ollama",
        "langchain_ollama_python.py",
        of("langchain-ollama==1.1.0"),
        Wire.OLLAMA,
        '`client_kwargs={"headers": {"X-API-Key": key}}`',
    ),
    Client("langchain-openai", "langchain_openai_python.py", of("langchain-openai==1.7.4"), Wire.CHAT, "`api_key=key`"),
    Client(
        "llama-index-llms-ollama",
        "llamaindex_ollama_python.py",
        of("llama-index-llms-ollama==0.11.0", "llama-index-embeddings-ollama==0.10.0"),
        Wire.OLLAMA,
        f'{HEADER}; embeddings: `client_kwargs={{"headers": …}}`',
    ),
    Client(
        "llama-index-llms-openai-like",
        "llamaindex_openai_python.py",
        of("llama-index-llms-openai-like==0.8.1", "llama-index-embeddings-openai-like==0.4.0"),
        Wire.CHAT,
        "`api_key=key`",
    ),
    Client(
        "pydantic-ai",
        "pydantic_ai_python.py",
        of("pydantic-ai-slim[openai]==2.68.0"),
        Wire.CHAT,
        "`OllamaProvider(api_key=key)`",
    ),
    Client("litellm, `ollama_chat/`", "litellm_ollama_python.py", of("litellm==1.110.2"), Wire.OLLAMA, "`api_key=key`"),
    Client("litellm, `openai/`", "litellm_openai_python.py", of("litellm==1.110.2"), Wire.CHAT, "`api_key=key`"),
    Client("ollama-haystack", "haystack_python.py", of("ollama-haystack==7.0.2"), Wire.OLLAMA, OLLAMA_VARIABLE),
    Client(
        "llm with llm-ollama",
        "llm_python.py",
        of("llm-ollama==0.19.1", "llm==0.36"),
        Wire.OLLAMA,
        f"`llm keys set ollama`, or {OLLAMA_VARIABLE}",
        embeds=False,
        faults={"wrong key": "it hides the refusal of its list of models, and says that the model is unknown"},
    ),
    Client(
        "Codex, `--oss`",
        "agent_codex.py",
        of("@openai/codex@0.171.0"),
        Wire.RESPONSES,
        "`CODEX_OSS_BASE_URL=http://…/k/<key>/v1`, with `KEY_IN_URL=true`",
        Agent("exec_command", {"cmd": "cat {file}"}),
        embeds=False,
        faults={
            "wrong key": "it says that no Ollama is running, not that the key is refused",
            "Ollama 0.9.3": "it wants an Ollama of 0.13.4 or newer; a provider in its configuration does not",
        },
    ),
    Client(
        "Codex, a provider in its configuration",
        "agent_codex_provider.py",
        of("@openai/codex@0.171.0"),
        Wire.RESPONSES,
        "`env_key` of the provider in `config.toml`",
        Agent("exec_command", {"cmd": "cat {file}"}),
        embeds=False,
    ),
    Client(
        "Claude Code",
        "agent_claude_code.py",
        of("@anthropic-ai/claude-code@2.1.332"),
        Wire.MESSAGES,
        "`ANTHROPIC_AUTH_TOKEN` in the environment",
        Agent("Read", {"file_path": "{file}"}, Sight.READ),
        embeds=False,
    ),
    Client(
        "Qwen Code",
        "agent_qwen.py",
        of("@qwen-code/qwen-code@0.24.4"),
        Wire.CHAT,
        "`OPENAI_API_KEY` in the environment",
        Agent("read_file", {"file_path": "{file}"}),
        embeds=False,
    ),
    Client(
        "Continue's command line",
        "agent_continue.py",
        of("@continuedev/cli@1.5.47"),
        Wire.CHAT,
        "`apiKey` of the model in `config.yaml`",
        Agent("Read", {"filepath": "{file}"}, Sight.NONE),
        embeds=False,
    ),
    Client(
        "opencode",
        "agent_opencode.py",
        of("opencode-ai@1.18.33"),
        Wire.CHAT,
        "`options.apiKey` of the provider in `opencode.json`",
        Agent("read", {"filePath": "{file}"}),
        embeds=False,
    ),
    Client(
        "Open WebUI",
        "open_webui_python.py",
        Packages(("open-webui==0.12.4",), by_uv=True),
        Wire.CHAT,
        "`OPENAI_API_KEY` in the environment, or Settings, Connections",
        faults={
            "error": "it asks for no model that is not in its list, and answers 400 by itself",
            "wrong key": "it hides the refusal of its list of models, and says that the model is not found",
        },
    ),
)
