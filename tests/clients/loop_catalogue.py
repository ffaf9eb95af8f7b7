"""The agents and libraries that go through the loop of tools, each over Ollama's dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.clients.catalogue import AI_SDK, of
from tests.clients.environments import Packages
from tests.clients.loop_play import FINAL, Called, Script

WHOLE, STREAMED = "whole", "streamed"
BOTH: Final = (WHOLE, STREAMED)
# The same over the routes of OpenAI's API, which are passed on as they come.
ON_V1: Final = ("whole on /v1", "streamed on /v1")


@dataclass(frozen=True)
class Looping:
    """One row of the table of loops.

    Attributes:
        name: as its users call it.
        driver: the program in `drivers` that uses it.
        packages: what it is made of.
        modes: in which ways it goes through the loop; an agent mostly has one.
        faults: what it does wrong itself, by the mode; that it still does is asserted.
        script: what it is led through.
    """

    name: str
    driver: str
    packages: Packages
    modes: tuple[str, ...] = BOTH
    faults: Mapping[str, str] = field(default_factory=dict)
    script: Script = field(default_factory=Script)

    @property
    def version(self) -> str:
        """What is pinned, of the first package."""
        return self.packages.version


JOINED: Final = "LiteLLM gives each call of a stream the index 0, by which it takes two for one"
# Open Interpreter's one tool runs code, a call at a time.
CODE: Final = (
    (Called("a1B2c3D4e", "execute", {"language": "shell", "code": "echo rain in Zürich"}, "rain in Zürich"),),
    (Called("b1B2c3D4e", "execute", {"language": "shell", "code": "printf 'a \"b\"\\tc'"}, 'a "b"\tc'),),
)
# What aider takes for a file: its name, and what stands in it between two fences.
EDIT: Final = ("note.txt\n", "```\n", f"{FINAL}\n", "```\n")


def by_uv(*pins: str) -> Packages:
    """Packages with these pins, whose own needs are chosen by uv."""
    return Packages(pins, by_uv=True)


LOOPS: Final = (
    Looping(
        "ollama (Python)",
        "loop_ollama_python.py",
        of("ollama==0.6.3"),
        (*BOTH, "whole by name", "streamed without a name"),
    ),
    Looping("ollama (JavaScript)", "loop_ollama_js.mjs", of("ollama@0.6.4")),
    Looping("strands-agents", "loop_strands.py", of("strands-agents[ollama]==1.62.0"), (STREAMED,)),
    Looping(
        "@llamaindex/ollama",
        "loop_llamaindex.mjs",
        of(
            "@llamaindex/ollama@0.1.24",
            "@llamaindex/workflow@1.1.25",
            "@llamaindex/core@0.6.23",
            "@llamaindex/env@0.1.31",
            "zod@4.6.7",
        ),
        (STREAMED,),
    ),
    Looping("langchain-ollama", "loop_langchain.py", of("langchain-ollama==1.1.0")),
    Looping(
        "llama-index-llms-ollama",
        "loop_llamaindex_python.py",
        of("llama-index-llms-ollama==0.11.0", "llama-index-embeddings-ollama==0.10.0"),
    ),
    Looping(
        "litellm, `ollama_chat/`",
        "loop_litellm.py",
        of("litellm==1.110.2"),
        faults={STREAMED: "it gives each call of a stream the index 0, so that its builder joins two into one"},
    ),
    Looping("llm with llm-ollama", "loop_llm.py", of("llm-ollama==0.19.1", "llm==0.36")),
    Looping(
        "ollama-haystack",
        "loop_haystack.py",
        of("ollama-haystack==7.0.2"),
        faults={STREAMED: "it takes a streamed call without arguments for one whose arguments are no JSON, and raises"},
    ),
    Looping("AI SDK with ollama-ai-provider-v2", "loop_provider_v2.mjs", Packages(AI_SDK)),
    Looping("AI SDK with ai-sdk-ollama", "loop_ai_sdk_ollama.mjs", Packages(AI_SDK)),
    Looping("ollmcp", "loop_ollmcp.py", of("ollmcp==0.35.1"), (STREAMED,)),
    Looping("agno", "loop_agno.py", of("agno==3.1.10", "ollama==0.6.3", "openai==3.57.0")),
    Looping(
        "Semantic Kernel",
        "loop_semantic_kernel.py",
        of("semantic-kernel[ollama]==1.45.0"),
        faults={STREAMED: "it joins the calls of two lines into one"},
    ),
    Looping("AutoGen", "loop_autogen.py", of("autogen-ext[ollama]==0.7.5", "autogen-agentchat==0.7.5")),
    Looping("agent-framework-ollama", "loop_agent_framework.py", of("agent-framework-ollama==1.0.0b261022")),
    Looping(
        "Genkit with genkitx-ollama",
        "loop_genkit.mjs",
        of("genkitx-ollama@1.42.0", "genkit@1.42.0"),
        faults={STREAMED: "it keeps the text of a stream alone, so that calls are lost"},
    ),
    Looping(
        "TanStack ai-ollama",
        "loop_tanstack.mjs",
        of("@tanstack/ai-ollama@0.11.6", "@tanstack/ai@0.58.0", "zod@4.6.7"),
        (STREAMED,),
    ),
    Looping(
        "Mastra with ollama-ai-provider-v2",
        "loop_mastra.mjs",
        of("@mastra/core@1.71.0", "ollama-ai-provider-v2@4.0.1", "zod@4.6.7"),
    ),
    Looping(
        "@langchain/ollama",
        "loop_langchain_js.mjs",
        of("@langchain/ollama@1.3.0", "langchain@1.5.14", "@langchain/core@1.4.0", "zod@4.6.7"),
    ),
    Looping(
        "openai-agents over litellm",
        "loop_openai_agents.py",
        by_uv("openai-agents[litellm]==0.24.0", "litellm==1.110.2"),
        (*BOTH, *ON_V1),
        {STREAMED: JOINED},
    ),
    Looping(
        "smolagents over litellm",
        "loop_smolagents.py",
        by_uv("smolagents[litellm]==1.26.0", "litellm==1.110.2"),
        faults={STREAMED: JOINED},
        script=Script(in_words=True),
    ),
    Looping(
        "Google's ADK over litellm",
        "loop_adk.py",
        by_uv("google-adk==2.13.0", "litellm==1.110.2"),
        (*BOTH, *ON_V1),
    ),
    Looping(
        "CrewAI over litellm",
        "loop_crewai.py",
        by_uv("crewai==1.15.30", "litellm==1.110.2"),
        (*BOTH, *ON_V1, "whole without litellm", "streamed without litellm"),
        {STREAMED: JOINED, ON_V1[1]: "it drops the ids of a stream's calls, so that its history has none"},
    ),
    Looping(
        "Home Assistant",
        "loop_home_assistant.py",
        Packages(
            (
                "homeassistant==2026.2.3",
                "hassil==3.5.0",
                "home-assistant-intents==2026.1.28",
                "numpy==2.3.2",
                "ollama==0.5.1",
                "PyTurboJPEG==1.8.0",
            ),
            python="3.13.2",
        ),
        (STREAMED,),
    ),
    Looping("Open WebUI", "loop_open_webui.py", of("open-webui==0.12.4"), (STREAMED, ON_V1[1])),
    Looping("aider", "loop_aider.py", by_uv("aider-chat==0.86.2"), script=Script((), EDIT)),
    Looping(
        "Open Interpreter over litellm",
        "loop_open_interpreter.py",
        by_uv("open-interpreter==0.4.3"),
        (STREAMED,),
        script=Script(CODE),
    ),
)
