"""A small real model whose words are known, in the form that vLLM and transformers read.

Like the one of `tiny_gguf`: attention and feed-forward are zero, so what a token's embedding says goes straight to the
output. Its chat template ends a prompt with one of three marks, and the mark decides what is said: words, a call of
the first tool, or a thought and then the words. Where a grammar forbids the words, an empty object comes.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any, Final

CONTEXT: Final = 512
WORDS: Final = (" The", " sky", " is", " naïve", " and", " “blue”", " 😀", " as", " it", " ends.")
THOUGHT: Final = (" Hm", ",", " so")
CALL: Final = {"name": "weather", "arguments": {"city": "Zürich"}}

_WIDTH: Final = 64
_HIDDEN: Final = 32
_HALF: Final = 45
_SURE, _LIKELY = 80.0, 40.0
_END, _SAY, _CALL, _MUSE = "</s>", "<say>", "<call>", "<muse>"
_SPECIALS: Final = ("<s>", _END, _SAY, _CALL, _MUSE)
_MARKS: Final = ("<tool_call>", "</tool_call>", "<think>", "</think>")
_TEMPLATE: Final = """{%- for turn in messages -%}
<s>{{ turn.role }}: {{ turn.content or '' }}{{ turn.reasoning_content or '' }}
{%- for call in turn.tool_calls or [] %} {{ call.function.name }}{% endfor -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{%- if tools and messages[-1].role == 'user' -%}<call>
{%- elif enable_thinking -%}<muse>
{%- else -%}<say>{%- endif -%}
{%- endif -%}"""
_SIZES: Final = {
    "hidden_size": _WIDTH,
    "intermediate_size": _HIDDEN,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": _WIDTH // 2,
    "max_position_embeddings": CONTEXT,
}


def write_transformer(folder: Path) -> None:
    """Write the model, its tokenizer and its chat template into a folder."""
    vocabulary = _vocabulary()
    ends = {"bos_token_id": vocabulary["<s>"], "eos_token_id": vocabulary[_END], "pad_token_id": vocabulary[_END]}
    files: dict[str, dict[str, Any]] = {
        "config.json": _config(len(vocabulary)) | ends,
        "generation_config.json": ends,
        "tokenizer.json": _tokenizer(vocabulary),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": _END,
            "pad_token": _END,
            "model_max_length": CONTEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": _TEMPLATE,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    (folder / "model.safetensors").write_bytes(_weights(vocabulary))


def _config(tokens: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vocab_size": tokens,
        **_SIZES,
    }


def _bytes_as_letters() -> Sequence[str]:
    """The letter that stands for each byte in a byte-level vocabulary: itself, where it can be seen."""
    seen = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in seen else next(spare)) for byte in range(256)]


def _spelt(text: str) -> str:
    letters = _bytes_as_letters()
    return "".join(letters[byte] for byte in text.encode())


def _called() -> Sequence[str]:
    """The call in two tokens: a maximum can fall between them."""
    text = f"\n{json.dumps(CALL, ensure_ascii=False)}\n"
    return [text[:_HALF], text[_HALF:]]


def _vocabulary() -> dict[str, int]:
    spelt = [_spelt(text) for text in (*WORDS, *THOUGHT, *_called())]
    tokens = dict.fromkeys([*_SPECIALS, *_MARKS, *_bytes_as_letters(), *spelt])
    return {token: number for number, token in enumerate(tokens)}


def _tokenizer(vocabulary: Mapping[str, int]) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": vocabulary[token], "content": token, "special": token in _SPECIALS, **plain}
        for token in (*_SPECIALS, *_MARKS)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": dict(vocabulary), "merges": [], "byte_fallback": False, "ignore_merges": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": model,
    }


def _chains() -> Iterator[Sequence[str]]:
    """What follows what."""
    words = [_spelt(word) for word in WORDS]
    yield [*words, _END]
    yield [_CALL, "<tool_call>", *map(_spelt, _called()), "</tool_call>", _END]
    yield [_MUSE, "<think>", *(_spelt(piece) for piece in THOUGHT), "</think>", words[0]]
    yield ["{", "}", _END]


def _weights(vocabulary: Mapping[str, int]) -> bytes:
    """Column 0 stands for all that nothing special follows, so that the words begin; each other token has its own."""
    tokens = len(vocabulary)
    columns: dict[str, int] = {}
    output = array("f", bytes(4 * tokens * _WIDTH))
    for chain in _chains():
        for before, after in pairwise(chain):
            column = columns.setdefault(before, len(columns) + 1)
            output[vocabulary[after] * _WIDTH + column] = _SURE / sqrt(_WIDTH)
    output[vocabulary[_spelt(WORDS[0])] * _WIDTH] = _SURE / sqrt(_WIDTH)
    output[vocabulary["{"] * _WIDTH] = _LIKELY / sqrt(_WIDTH)
    embedding = array("f", bytes(4 * tokens * _WIDTH))
    for token, number in vocabulary.items():
        embedding[number * _WIDTH + columns.get(token, 0)] = 1.0
    return _safetensors(_tensors(tokens, embedding, output))


def _tensors(tokens: int, embedding: array[float], output: array[float]) -> dict[str, tuple[list[int], array[float]]]:
    ones, block = array("f", [1.0]) * _WIDTH, "model.layers.0"
    square = ([_WIDTH, _WIDTH], array("f", bytes(4 * _WIDTH * _WIDTH)))
    flat = array("f", bytes(4 * _WIDTH * _HIDDEN))
    return {
        "model.embed_tokens.weight": ([tokens, _WIDTH], embedding),
        "model.norm.weight": ([_WIDTH], ones),
        "lm_head.weight": ([tokens, _WIDTH], output),
        f"{block}.input_layernorm.weight": ([_WIDTH], ones),
        f"{block}.post_attention_layernorm.weight": ([_WIDTH], ones),
        **{f"{block}.self_attn.{name}_proj.weight": square for name in "qkvo"},
        **{f"{block}.mlp.{name}_proj.weight": ([_HIDDEN, _WIDTH], flat) for name in ("gate", "up")},
        f"{block}.mlp.down_proj.weight": ([_WIDTH, _HIDDEN], flat),
    }


def _safetensors(tensors: Mapping[str, tuple[list[int], array[float]]]) -> bytes:
    told: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, (shape, numbers) in tensors.items():
        begin = len(data)
        data += numbers.tobytes()
        told[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    head = json.dumps(told).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + bytes(data)
