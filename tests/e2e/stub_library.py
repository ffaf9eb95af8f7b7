"""A shared library whose functions return zero, written without a compiler: ELF for Linux on x86-64."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

_HEADER: Final = 64
_PROGRAM_HEADER: Final = 56
_SYMBOL: Final = 24
# xor eax, eax; ret
_RETURN_ZERO: Final = b"\x31\xc0\xc3"
_LOAD, _DYNAMIC_SEGMENT, _STACK = 1, 2, 0x6474E551
_HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _SONAME = 4, 5, 6, 10, 11, 14
_READ_EXECUTE, _READ_WRITE, _PAGE = 5, 6, 0x1000


def stub_library(soname: str, functions: Sequence[str]) -> bytes:
    """The library's bytes.

    One segment holds code, symbols, strings and a hash table of one bucket; a second, writable one the dynamic table.
    Layout: System V ABI, "Object Files" and "Dynamic Linking".

    Args:
        soname: its own name.
        functions: exported; each takes anything and returns zero in a register.
    """
    strings, offsets = b"\0", {}
    for name in (soname, *functions):
        offsets[name] = len(strings)
        strings += name.encode() + b"\0"
    code_at = _HEADER + 4 * _PROGRAM_HEADER
    symbols_at = _aligned(code_at + len(_RETURN_ZERO), 8)
    # Section index 1 of a library without sections: any but 0, which would mean undefined. 0x12: global function.
    symbols = b"\0" * _SYMBOL
    symbols += b"".join(struct.pack("<IBBHQQ", offsets[name], 0x12, 0, 1, code_at, 3) for name in functions)
    strings_at = symbols_at + len(symbols)
    hash_at = _aligned(strings_at + len(strings), 8)
    count = len(functions) + 1
    chain = [*range(2, count), 0]
    table = struct.pack(f"<{4 + len(chain)}I", 1, count, 1, 0, *chain)
    dynamic_at = _aligned(hash_at + len(table), _PAGE)
    entries = [
        (_SONAME, offsets[soname]),
        (_HASH, hash_at),
        (_STRTAB, strings_at),
        (_SYMTAB, symbols_at),
        (_STRSZ, len(strings)),
        (_SYMENT, _SYMBOL),
        (0, 0),
    ]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    # A shared object (3) for x86-64 (62), with program headers alone.
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, _HEADER, 0, 0, _HEADER, _PROGRAM_HEADER, 4, 0, 0, 0)
    header += _segment(_LOAD, _READ_EXECUTE, 0, hash_at + len(table), _PAGE)
    header += _segment(_LOAD, _READ_WRITE, dynamic_at, len(dynamic), _PAGE)
    header += _segment(_DYNAMIC_SEGMENT, _READ_WRITE, dynamic_at, len(dynamic), 8)
    # Says that no executable stack is needed; newer C libraries refuse a library that does not say so.
    header += _segment(_STACK, _READ_WRITE, 0, 0, 16)
    parts = {0: header, code_at: _RETURN_ZERO, symbols_at: symbols, strings_at: strings, hash_at: table}
    file = bytearray(dynamic_at)
    for at, part in parts.items():
        file[at : at + len(part)] = part
    return bytes(file) + dynamic


def _segment(kind: int, flags: int, at: int, size: int, alignment: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, alignment)


def _aligned(at: int, alignment: int) -> int:
    return -(-at // alignment) * alignment
