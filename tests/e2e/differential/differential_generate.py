"""Completions and conversations through Ollama's own routes."""

from __future__ import annotations

from typing import Any, Final

from tests.e2e.differential.differential_case import BRIEF, Case, Json, chat, generate, option, post

NARROW: Final = {**BRIEF, "num_ctx": 64}
SCHEMA: Final = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
PARAMETERS: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Final = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": PARAMETERS}}
CALL: Final = {"function": {"name": "look", "arguments": {"city": "Rome"}}}
PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NAMES: Final = {
    "upper case": "TINY",
    "tag": "tiny:latest",
    "upper tag": "tiny:LATEST",
    "namespace": "library/tiny",
    "namespace and tag": "library/tiny:latest",
    "host": "registry.ollama.ai/library/tiny",
    "spaces": " tiny ",
    "unknown": "nope",
    "unknown tag": "tiny:nope",
    "other host": "example.com/library/tiny",
    "empty": "",
    "slashes": "a/b/c/d/e",
    "dots": "../../etc/passwd",
    "signs": "ti?ny",
    "line break": "ti\nny",
    "unicode": "tïny",
    "quotes": 'ti"ny',
    "long": "t" * 500,
    "local": "tiny:local",
    "not a name": 7,
    "null": None,
    "list": ["tiny"],
}
PROMPTS: Final = {
    "next line": "a\u0085b",
    "line separator": "a\u2028b\u2029",
    "emoji": "👩‍👩‍👧",
    "lone surrogate": "a\ud800b",
    "swapped surrogates": "\udc00\ud800",
    "nul": "a\u0000b",
    "controls": "\x01\x1b[31m\x7f",
    "marks": "<|im_start|></s>[INST]{{ .Prompt }}",
    "html": "<&>'\"\\/",
    "right to left": "\u202eشمس",
    "own words": "The sky",
    "huge": "why? " * 20_000,
    "white space": "   ",
    "number": 7,
    "null": None,
    "list": ["a"],
    "object": {},
}
KEEP_ALIVE: Final[dict[str, Any]] = {
    "minutes": "5m",
    "number": 60,
    "fraction": 1.5,
    "for ever": -1,
    "negative duration": "-1m",
    "compound": "1h2m3s",
    "digits in quotes": "300",
    "minus one in quotes": "-1",
    "nothing": "",
    "garbage": "soon",
    "null": None,
    "true": True,
    "list": [],
    "huge": 1e300,
}
FORMATS: Final[dict[str, Any]] = {
    "json": "json",
    "schema": SCHEMA,
    "null": None,
    "nothing": "",
    "garbage": "yaml",
    "number": 7,
    "list": [],
    "empty object": {},
    "schema garbage": {"type": "colour"},
    "true": True,
}
OPTIONS: Final[dict[str, Any]] = {
    "num_predict": [0, 1, -1, 2.9, "3", None],
    "temperature": [1, 0.7, -1, "hot", None, True],
    "top_k": [1, "1", []],
    "top_p": [0.1, "0.1"],
    "min_p": [0.1, "0.1"],
    "typical_p": [0.5, {}],
    "repeat_last_n": [0, "0"],
    "repeat_penalty": [1.5, "1.5"],
    "presence_penalty": [0.5, "x"],
    "frequency_penalty": [0.5, "x"],
    "seed": [7, -1, "7", 1e18],
    "num_keep": [2, "2"],
    "stop": [["sky"], [], ["\u2028"], ["naïve", "😀"], "sky", [7], None],
    "num_ctx": [64, "64", 0],
    "num_batch": [32, "32"],
    "num_gpu": [0, "0"],
    "main_gpu": [0, "0"],
    "num_thread": [1, "1"],
    "use_mmap": [False, "no"],
    "mirostat": [2, "2"],
    "low_vram": [True],
    "an_option_of_next_month": [1],
}
CALLED: Final = [
    {"role": "user", "content": "Look."},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "Sun.", "tool_name": "look"},
]
MESSAGES: Final[dict[str, Any]] = {
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
    "assistant last": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "The"}],
    "unknown role": [{"role": "nobody", "content": "Why?"}],
    "no role": [{"content": "Why?"}],
    "upper role": [{"role": "USER", "content": "Why?"}],
    "no content": [{"role": "user"}],
    "null content": [{"role": "user", "content": None}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}],
    "number content": [{"role": "user", "content": 7}],
    "strings": ["Why?"],
    "object": {"role": "user", "content": "Why?"},
    "null": None,
    "empty": [],
    "tool calls": CALLED,
    "arguments in quotes": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{}"}}]}],
    "images garbage": [{"role": "user", "content": "Why?", "images": ["%%%"]}],
    "image": [{"role": "user", "content": "Why?", "images": [PIXEL]}],
    "emoji": [{"role": "user", "content": "👩‍👩‍👧 \u0085 \u2028"}],
    "thinking": [{"role": "user", "content": "Why?", "thinking": "Hm."}],
}
FIELDS: Final[dict[str, Json]] = {
    "plain": {},
    "streamed": {"stream": True},
    "stream null": {"stream": None},
    "stream text": {"stream": "true"},
    "stream number": {"stream": 1},
    "to the end": {"options": {"temperature": 0}, "stream": True},
    "to the end at once": {"options": {"temperature": 0}},
    "options null": {"options": None},
    "options list": {"options": []},
    "options text": {"options": "hot"},
    "unknown field": {"a_field_of_next_month": {"a": [1]}},
    "think false": {"think": False},
    "think": {"think": True},
    "think streamed": {"think": True, "stream": True},
    "think garbage": {"think": "x"},
    "think high": {"think": "high"},
    "truncate": {"truncate": False, "shift": False},
    "logprobs": {"logprobs": True, "top_logprobs": 1},
    "logprobs garbage": {"logprobs": "yes"},
    "unload": {"keep_alive": 0},
    "unload in quotes": {"keep_alive": "0"},
    "unload streamed": {"keep_alive": "0s", "stream": True},
    "too long": {"prompt": "why? " * 200, "messages": [{"role": "user", "content": "why? " * 200}], "options": NARROW},
}
GENERATE_FIELDS: Final[dict[str, Json]] = {
    "system": {"system": "Be brief."},
    "system number": {"system": 7},
    "template": {"template": "{{ .Prompt }}!"},
    "template garbage": {"template": "{{ .Prompt"},
    "template number": {"template": 7},
    "raw": {"raw": True},
    "raw streamed": {"raw": True, "stream": True},
    "raw with template": {"raw": True, "template": "{{ .Prompt }}"},
    "raw with system": {"raw": True, "system": "Be brief."},
    "raw with context": {"raw": True, "context": [1]},
    "raw text": {"raw": "yes"},
    "suffix": {"suffix": "end"},
    "suffix streamed": {"suffix": "end", "stream": True},
    "context": {"context": [259, 88, 104]},
    "context streamed": {"context": [259, 88, 104], "stream": True},
    "context text": {"context": "abc"},
    "images garbage": {"images": ["%%%"]},
    "images": {"images": [PIXEL]},
    "images text": {"images": PIXEL},
    "images null": {"images": None},
    "load": {"prompt": ""},
    "load streamed": {"prompt": "", "stream": True},
    "unload only": {"prompt": "", "keep_alive": 0},
    "unload only streamed": {"prompt": "", "keep_alive": "0", "stream": True},
    "debug": {"_debug_render_only": True},
}
CHAT_FIELDS: Final[dict[str, Json]] = {
    "tools": {"tools": [TOOL]},
    "tools streamed": {"tools": [TOOL], "stream": True},
    "tools empty": {"tools": []},
    "tools text": {"tools": "look"},
    "tool types": {"tools": [{**TOOL, "function": {"name": "x", "parameters": {"type": ["object"]}}}]},
    "load streamed": {"messages": [], "stream": True},
    "unload only": {"messages": [], "keep_alive": 0},
    "unload only streamed": {"messages": [], "keep_alive": 0, "stream": True},
}


def _cases() -> dict[str, Case]:
    cases = {
        "generate unset": post("/api/generate", {"model": "tiny", "prompt": "Why?", "options": BRIEF}),
        "generate model only": post("/api/generate", {"model": "tiny"}),
        "generate name": post("/api/generate", {"name": "tiny", "prompt": "Why?"}),
        "generate nothing": post("/api/generate", {}),
        "generate unknown streamed": generate(model="nope", stream=True),
        "chat unset": post("/api/chat", {"model": "tiny", "messages": MESSAGES["system"], "options": BRIEF}),
        "chat model only": post("/api/chat", {"model": "tiny"}),
        "chat name": post("/api/chat", {"name": "tiny", "messages": MESSAGES["system"]}),
        "chat nothing": post("/api/chat", {}),
        "chat unknown streamed": chat(model="nope", stream=True),
    }
    for key, fields in FIELDS.items():
        cases |= {f"generate {key}": generate(**fields), f"chat {key}": chat(**fields)}
    for key, name in NAMES.items():
        cases |= {f"generate model {key}": generate(model=name), f"chat model {key}": chat(model=name)}
    for key, value in FORMATS.items():
        cases |= {f"generate format {key}": generate(format=value), f"chat format {key}": chat(format=value)}
    for key, value in KEEP_ALIVE.items():
        cases |= {f"generate keep_alive {key}": generate(keep_alive=value)}
    cases |= {"chat keep_alive garbage": chat(keep_alive="soon"), "chat keep_alive": chat(keep_alive="5m")}
    cases |= {f"generate prompt {key}": generate(prompt=value, stream=True) for key, value in PROMPTS.items()}
    cases |= {f"generate {key}": generate(**fields) for key, fields in GENERATE_FIELDS.items()}
    cases |= {f"chat {key}": chat(**fields) for key, fields in CHAT_FIELDS.items()}
    cases |= {f"chat messages {key}": chat(messages=value) for key, value in MESSAGES.items()}
    for name, values in OPTIONS.items():
        cases |= {f"option {name} {value!r}": option(**{name: value}) for value in values}
    return cases


CASES: Final = _cases()
