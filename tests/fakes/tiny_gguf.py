"""A small real model whose words are known: weights for Ollama, written with the standard library only.

Attention and feed-forward are zero, so what a token's embedding says goes straight to the output: after anything that
is not one of the model's words comes its first word, after each word the next one, after the last the end. Sampling
cannot change that, for every other token is hopeless.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod, sqrt
from pathlib import Path
from typing import Final

_WIDTH: Final = 64
_HIDDEN: Final = 32
_CERTAINTY: Final = 40.0
_ALIGNMENT: Final = 32
_UNKNOWN, _BEGIN, _END = 0, 1, 2
_SPECIALS: Final = ("<unk>", "<s>", "</s>")
_SPACE: Final = "\u2581"
# llama.cpp's kinds of tokens.
_NORMAL, _IS_UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_ITEM_TYPES: Final = {int: 5, float: 6, str: 8}

Value = str | int | float | bool | Sequence[str] | Sequence[float] | Sequence[int]


@dataclass(frozen=True)
class Tensor:
    """Numbers, row after row; without any they are zeros."""

    shape: tuple[int, ...]
    rows: Mapping[int, Mapping[int, float]] | None = None
    ones: bool = False

    def data(self) -> bytes:
        """The numbers as they stand in the file, filled up to where the next may begin."""
        numbers = array("f", [1.0 if self.ones else 0.0]) * prod(self.shape)
        for row, columns in (self.rows or {}).items():
            for column, number in columns.items():
                numbers[row * self.shape[0] + column] = number
        return _filled(numbers.tobytes())


def write_model(path: Path, words: Sequence[str], *, endless: bool = False) -> None:
    """Write weights that answer everything with `words`, each after a space, once or for ever.

    Raises:
        ValueError: too many words, or one twice.
    """
    if not 0 < len(words) < _WIDTH or len(set(words)) != len(words):
        raise ValueError("a tiny model knows a few different words")
    vocabulary = [*_SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), _SPACE]
    first = len(vocabulary)
    vocabulary += [_SPACE + word for word in words]
    facts, tensors = _facts(vocabulary, len(words)), _tensors(len(vocabulary), first, first if endless else _END)
    parts = [tensor.data() for tensor in tensors.values()]
    offsets = accumulate(map(len, parts), initial=0)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(facts))
    head += b"".join(_text(name) + _typed(value) for name, value in facts.items())
    for (name, tensor), offset in zip(tensors.items(), offsets, strict=False):
        head += _text(name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}QIQ", *tensor.shape, 0, offset)
    path.write_bytes(_filled(head) + b"".join(parts))


def _facts(vocabulary: Sequence[str], words: int) -> dict[str, Value]:
    kinds = [_IS_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, _NORMAL, *[_NORMAL] * words]
    model = {
        "context_length": 4096,
        "embedding_length": _WIDTH,
        "block_count": 1,
        "feed_forward_length": _HIDDEN,
        "attention.head_count": 2,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": _WIDTH // 2,
        "vocab_size": len(vocabulary),
    }
    tokenizer: dict[str, Value] = {
        "model": "llama",
        "pre": "default",
        "tokens": vocabulary,
        "scores": [0.0] * (len(vocabulary) - words) + [-float(rank) for rank in range(words)],
        "token_type": kinds,
        "bos_token_id": _BEGIN,
        "eos_token_id": _END,
        "unknown_token_id": _UNKNOWN,
        "add_bos_token": True,
        "add_space_prefix": True,
    }
    return {
        "general.architecture": "llama",
        "general.name": "tiny",
        "general.file_type": 0,
        **{f"llama.{name}": value for name, value in model.items()},
        **{f"tokenizer.ggml.{name}": value for name, value in tokenizer.items()},
    }


def _tensors(tokens: int, first: int, last: int) -> dict[str, Tensor]:
    """Column 0 stands for all that is no word, column n for the n-th word; `last` is what follows the last one."""
    embedding = {token: {max(0, token - first + 1): 1.0} for token in range(tokens)}
    sure = _CERTAINTY / sqrt(_WIDTH)
    output: dict[int, dict[int, float]] = {}
    for column, token in enumerate([*range(first, tokens), last]):
        output.setdefault(token, {})[column] = sure
    square, norm = Tensor((_WIDTH, _WIDTH)), Tensor((_WIDTH,), ones=True)
    block = {
        "attn_norm": norm,
        "ffn_norm": norm,
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), square),
        **dict.fromkeys(("ffn_gate", "ffn_up"), Tensor((_WIDTH, _HIDDEN))),
        "ffn_down": Tensor((_HIDDEN, _WIDTH)),
    }
    return {
        "token_embd.weight": Tensor((_WIDTH, tokens), embedding),
        "output_norm.weight": norm,
        "output.weight": Tensor((_WIDTH, tokens), output),
        **{f"blk.0.{name}.weight": tensor for name, tensor in block.items()},
    }


def _typed(value: Value) -> bytes:
    """A fact's type and bytes: single whole numbers are unsigned in this format, those of a list are not."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
    return struct.pack("<IIQ", 9, _ITEM_TYPES[type(value[0])], len(value)) + b"".join(map(_item, value))


def _item(value: str | int | float) -> bytes:
    if isinstance(value, str):
        return _text(value)
    return struct.pack("<i" if isinstance(value, int) else "<f", value)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _filled(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
