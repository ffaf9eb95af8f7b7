#!/usr/bin/env bash
# The wheel of xllamacpp says "manylinux" and "no dependencies", yet its library needs libgomp.so.1 of the system.
#
# The wheel brings no libgomp, and manylinux does not count it among what every Linux has. Where it is missing, pip
# installs the package without a word, and the loader refuses the library on import. This script loads nothing: it
# reads the ELF headers in the wheel for x86_64, so it runs on any system.
#
# For whom: whoever puts xllamacpp into a small container image. Debian's package is libgomp1.
# Versions: xllamacpp 2026.10.11549, the newest on 2026-11-27, read with pyelftools 0.33.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check pyelftools==0.33
timeout 300 "$folder/venv/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux2014_x86_64 --python-version 3.11 --dest "$folder" xllamacpp==2026.10.11549
timeout 60 "$folder/venv/bin/python" - "$folder"/xllamacpp-*.whl <<'PY'
import io
import sys
from email import message_from_bytes
from pathlib import PurePosixPath
from zipfile import ZipFile

from elftools.elf.elffile import ELFFile

needed: dict = {}
with ZipFile(sys.argv[1]) as wheel:
    names = wheel.namelist()
    metadata = message_from_bytes(wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))))
    for name in names:
        if ".so" in PurePosixPath(name).suffixes:
            dynamic = ELFFile(io.BytesIO(wheel.read(name))).get_section_by_name(".dynamic")
            needed[name] = [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]

print(metadata["Name"], metadata["Version"], "in", PurePosixPath(sys.argv[1]).name)
requires = metadata.get_all("Requires-Dist") or []
print("Requires-Dist:", [one for one in requires if "extra ==" not in one])
for name, libraries in needed.items():
    print(f"{name} needs {', '.join(libraries)}")
carried = [name for name in names if "libgomp" in name]
print("libgomp in the wheel:", carried or "none")
if carried or not any("libgomp.so.1" in libraries for libraries in needed.values()):
    sys.exit("no longer so: xllamacpp carries libgomp, or does without it.")
PY

# Seen on 2026-11-27:
#   xllamacpp 2026.10.11549 in xllamacpp-2026.10.11549-cp310-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
#   Requires-Dist: []
#   xllamacpp/xllamacpp.abi3.so needs libpthread.so.0, libstdc++.so.6, libm.so.6, libgomp.so.1, libc.so.6, ld-linux-x86-64.so.2
#   libgomp in the wheel: none
