"""Losses: what a translation cannot keep, each with what becomes of it.

All dialects meet in Ollama's own form, with members of this service's own where Ollama has none: so there is one list
of what gets lost on the way into that form and one of what gets lost on the way out, for each dialect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Form = Literal["Anthropic", "OpenAI chat", "OpenAI completions", "OpenAI responses", "Ollama"]


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that does not arrive as it was sent.

    Attributes:
        what: the thing, in the words of the form that it comes from.
        becomes: what is made of it.
        source: the form that it comes from.
        target: the form that has no place for it.
    """

    what: str
    becomes: str
    source: Form
    target: Form


REQUESTS: Final = (
    Loss("the order of texts and images within a turn", "the texts as one, then the images", "Anthropic", "Ollama"),
    Loss("several blocks of thoughts in a turn", "the last one", "Anthropic", "Ollama"),
    Loss("`signature`, `redacted_thinking`", "left out", "Anthropic", "Ollama"),
    Loss("`cache_control`, `citations`, `metadata`, `service_tier`", "left out", "Anthropic", "Ollama"),
    Loss("blocks of documents and of search results", "left out", "Anthropic", "Ollama"),
    Loss("images at an address, and uploaded files", "400", "Anthropic", "Ollama"),
    Loss("`tool_reference` of a result, `defer_loading`", "its name; all tools are shown", "Anthropic", "Ollama"),
    Loss("`is_error` of a result", "left out", "Anthropic", "Ollama"),
    Loss("the tool `web_search`", "400", "Anthropic", "Ollama"),
    Loss(
        "other tools that Anthropic describes itself",
        "a function of that name, without parameters",
        "Anthropic",
        "Ollama",
    ),
    Loss("`budget_tokens` of thoughts", "the model thinks as long as it does", "Anthropic", "Ollama"),
    Loss("`tool_choice`", "left out before an Ollama, kept before other servers", "Anthropic", "Ollama"),
    Loss("a turn of several parts", "a message for each part", "OpenAI chat", "Ollama"),
    Loss("`tool_choice`, `parallel_tool_calls`, `n`, `logit_bias`", "left out", "OpenAI chat", "Ollama"),
    Loss("images at an address, sound, files", "400", "OpenAI chat", "Ollama"),
    Loss("several prompts, and prompts of tokens", "400", "OpenAI completions", "Ollama"),
    Loss("`n`, `best_of`, `echo`, `logit_bias`", "left out", "OpenAI completions", "Ollama"),
    Loss("images at an address, uploaded files, sound", "400", "OpenAI responses", "Ollama"),
    Loss("`background`, `conversation`, `prompt`, `moderation`", "400", "OpenAI responses", "Ollama"),
    Loss("items of tools that OpenAI runs, `item_reference`, `compaction`", "400", "OpenAI responses", "Ollama"),
    Loss(
        "tools that OpenAI runs or describes itself: `web_search`, `mcp`, `local_shell`, …",
        "left out",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "a `custom` tool",
        "a function with one text, `input`; a call of it is the client's again, streamed as it is written",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "the grammar of a `custom` tool, Lark's or a regular expression",
        "words in its description, which nobody enforces",
        "OpenAI responses",
        "Ollama",
    ),
    Loss("`tool_search`, and `defer_loading`", "all tools are told at once", "OpenAI responses", "Ollama"),
    Loss(
        "`tool_search` that the client does",
        "a function of that name; what was found are functions too",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "tools in a `namespace`",
        "functions of the namespace's name, `__` and their own; a call has both names again",
        "OpenAI responses",
        "Ollama",
    ),
    Loss("`encrypted_content` of thoughts that are given back", "left out", "OpenAI responses", "Ollama"),
    Loss(
        "`tool_choice` of one tool, `allowed_tools`",
        "the other tools are left out; before an Ollama no call can be enforced",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "`parallel_tool_calls`, and a `tool_choice` that asks for any call",
        "left out before an Ollama, kept before other servers",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "`strict` of functions and of a schema; `output_schema`, `async` and `allowed_callers` of tools",
        "left out",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "`max_tool_calls`",
        "nothing: it counts calls of tools that OpenAI runs, of which there are none",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "`truncation`",
        "an Ollama cuts what is too long, unless it is `disabled`; others refuse it",
        "OpenAI responses",
        "Ollama",
    ),
    Loss("`context_management`", "left out", "OpenAI responses", "Ollama"),
    Loss(
        "`summary`, `context` and `mode` of `reasoning`",
        "left out: thoughts are told as they are, as a summary",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "`verbosity` of `text`, `detail` of images, `phase` of messages",
        "left out",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "`top_logprobs`, and what `include` names but `reasoning.encrypted_content`",
        "left out",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "`service_tier`, `prompt_cache_key`, `prompt_cache_options`, `prompt_cache_retention`",
        "left out; the answer says the tier `default`",
        "OpenAI responses",
        "Ollama",
    ),
    Loss(
        "the prompt as it stands",
        "a user's turn, to which the model's template is applied",
        "OpenAI completions",
        "OpenAI chat",
    ),
    Loss("`suffix`", "501", "OpenAI completions", "OpenAI chat"),
    Loss(
        "ids of calls",
        "nine letters and digits, the same for a call and its result, unless they are so already",
        "Ollama",
        "OpenAI chat",
    ),
    Loss(
        "characters of functions' names that OpenAI does not allow, and those behind the 64th",
        "`_`, and a mark of the name's own; themselves again in the answer",
        "Ollama",
        "OpenAI chat",
    ),
    Loss("several messages of an assistant behind one another", "one", "Ollama", "OpenAI chat"),
    Loss(
        "a result without its call, and a call without a result",
        "a call is made; it is left out",
        "Ollama",
        "OpenAI chat",
    ),
    Loss("images of a result", "a user's turn behind it", "Ollama", "OpenAI chat"),
    Loss("instructions behind the first turn", "a user's where the server refuses them", "Ollama", "OpenAI chat"),
    Loss("thoughts of earlier turns", "left out where the server refuses them", "Ollama", "OpenAI chat"),
    Loss("`keep_alive`, and options of Ollama's runner", "left out", "Ollama", "OpenAI chat"),
)
ANSWERS: Final = (
    Loss("all choices but the first", "left out", "OpenAI chat", "Ollama"),
    Loss("`refusal`, `annotations`, sound", "left out", "OpenAI chat", "Ollama"),
    Loss(
        "arguments of a call, piece by piece",
        "whole, once they are; the text of a `custom` tool stays in pieces",
        "OpenAI chat",
        "Ollama",
    ),
    Loss(
        "arguments that are no object",
        "an empty one; of a `custom` tool the text as it was written",
        "OpenAI chat",
        "Ollama",
    ),
    Loss(
        "which stop text was met",
        "told where the server does (vLLM, SGLang), or this service cut the answer there; else `end_turn`",
        "OpenAI chat",
        "Anthropic",
    ),
    Loss("`signature` of thoughts", "there is none", "Ollama", "Anthropic"),
    Loss("log probabilities", "left out", "Ollama", "Anthropic"),
    Loss("the prompt's tokens at a stream's start", "an estimate; the last event has the count", "Ollama", "Anthropic"),
    Loss("durations", "left out", "Ollama", "OpenAI chat"),
    Loss("durations", "left out", "Ollama", "OpenAI responses"),
    Loss("log probabilities", "left out", "Ollama", "OpenAI responses"),
    Loss("`encrypted_content` of thoughts", "their text as it is", "Ollama", "OpenAI responses"),
    Loss("thoughts", "left out", "Ollama", "OpenAI completions"),
)
