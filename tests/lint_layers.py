#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks which file includes what, and which object file needs what of which other: the layer map of
docs/architecture.md as a test.

usage: lint_layers.py CHECKOUT [COMPILE_COMMANDS.json]
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

# A layer may include itself and what stands left of it.
PRODUCT = ["base", "models", "engine", "cml", "grammar", "dialect", "session", "tools", "runtime", "cli"]
BELOW = {layer: set(PRODUCT[: i + 1]) for i, layer in enumerate(PRODUCT)}
# The laboratory uses the product and is used by tests alone.
LAB = {
    "fixtures": {"base", "engine", "cml"},
    "oracle": {*PRODUCT[:-2], "fixtures"},
    "bench": {*PRODUCT[:-1], "fixtures", "oracle"},
    "commands": {*PRODUCT, "fixtures", "oracle", "bench"},
}
BELOW |= {layer: below | {layer} for layer, below in LAB.items()}
# The layer of each public header.
PUBLIC = {
    "error": "base", "types": "base", "protocol": "base", "engine": "engine", "session": "session",
    "tool": "tools", "metrics": "runtime", "runtime": "runtime",
}

# Single exceptions to the rules below, each with its reason.
EXCEPTIONS = {
    # A UTF-8 codec in one header, no I/O.
    ("src/base/utf8.cc", "boost/nowide/utf/utf.hpp"),
    # Regular expressions that give up in bounded time, which std::regex does not.
    ("src/cml/schema_pattern.h", "boost/regex.hpp"),
}

LLAMA = re.compile(r"(llama|ggml|gguf)[\w-]*\.h$")
BOOST = re.compile(r"boost/")
# Libraries that one source file hides from all others.
HIDDEN = {
    re.compile(r"curl/"): "src/models/http.cc",
    re.compile(r"openssl/"): "src/models/sha256.cc",
    re.compile(r"archive(_entry)?\.h$"): "src/models/wheel.cc",
}
SQLITE = re.compile(r"sqlite3")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)


def layer_of(path):
    """The layer of a file (relative to the checkout), or None where its folder or name is of none."""
    parts = path.parts
    if parts[:2] == ("include", "asynclm"):
        return PUBLIC.get(path.stem)
    is_known = parts[1] in (LAB if parts[0] == "lab" else PRODUCT)
    return parts[1] if is_known else None


def complaints(path, text):
    """Yields what is wrong with the includes of the file at `path` (relative to the checkout)."""
    layer = layer_of(path)
    public = path.parts[0] == "include"
    if layer is None:
        yield f"{path.parent} is no layer, or the header has none; tests/lint_layers.py lists the layers"
        return
    is_test = path.name.endswith("_test.cc") or path.name.startswith("test_")
    # Tests may also use the laboratory and any layer's test helpers.
    allowed = BELOW[layer] | (set(LAB) if is_test else set())
    helper = re.compile(r"\w+/test_\w+\.h$")
    for bracket, name in INCLUDE.findall(text):
        if (path.as_posix(), name) in EXCEPTIONS:
            continue
        if LLAMA.match(name) and not (
            layer == "engine" and "llama" in path.name or path.parts[:2] == ("lab", "fixtures")
        ):
            yield f"includes <{name}>; only src/engine/llama* and lab/fixtures may know libllama"
            continue
        if BOOST.match(name) and (public or layer not in ("tools", "runtime", "cli", "bench", "commands")):
            yield f"includes <{name}>; Boost is for src/tools, src/runtime, src/cli and lab/bench"
        for library, owner in HIDDEN.items():
            if library.match(name) and path.as_posix() != owner:
                yield f"includes <{name}>; only {owner} does"
        if public and SQLITE.match(name):
            yield f"includes <{name}>; public headers include no SQLite"
        if name.startswith("asynclm/"):
            target = PUBLIC.get(pathlib.PurePath(name).stem)
            if target is None:
                yield f"includes <{name}>, which is no public header"
            elif target not in allowed:
                yield f"includes <{name}> of layer {target}; {layer} may include only {', '.join(sorted(BELOW[layer]))}"
        if bracket != '"':
            continue
        target = name.split("/")[0]
        if public:
            yield f'includes "{name}"; public headers include <asynclm/…> and nothing of src/'
        elif "/" not in name or target not in BELOW:
            yield f'includes "{name}"; write "layer/file.h" for src/ and lab/, <asynclm/file.h> for include/'
        elif target not in allowed and not (is_test and helper.match(name)):
            yield f'includes "{name}"; {layer} may include only {", ".join(sorted(BELOW[layer]))}'


def link_complaints(symbols):
    """Yields each object file that needs a symbol which only a layer above it defines.

    symbols: [(layer, object, "T" or "U", symbol)]; weak and local ones left out."""
    defined = collections.defaultdict(set)
    for layer, _, kind, symbol in symbols:
        if kind == "T":
            defined[symbol].add(layer)
    for layer, name, kind, symbol in symbols:
        owners = defined.get(symbol, set())
        if kind == "U" and owners and not owners & BELOW[layer]:
            yield f"{layer}: {name} needs {symbol} of {', '.join(sorted(owners))}"


def symbols_of(commands):
    """What the objects of the product's layers define and need: [(layer, object, "T" or "U", symbol)]."""
    found = []
    for entry in json.loads(pathlib.Path(commands).read_text()):
        match = re.search(r"asynclm_layer_(\w+)\.dir/", entry["output"])
        if not match or match[1] not in PRODUCT:
            continue
        path = pathlib.Path(entry["directory"], entry["output"])
        names = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True).stdout
        for kind, symbol in re.findall(r"^[0-9a-f ]* ([TDBRU]) (.*)$", names, re.M):
            found.append((match[1], path.name, "U" if kind == "U" else "T", symbol))
    return found


def main(checkout, commands=None):
    checkout = pathlib.Path(checkout).resolve()
    files = sorted(
        path
        for folder in ("include", "src", "lab")
        for suffix in ("*.h", "*.cc")
        for path in (checkout / folder).rglob(suffix)
    )
    if not files:
        sys.exit(f"{checkout}: no sources found; give the checkout's folder")
    wrong = 0
    for path in files:
        relative = path.relative_to(checkout)
        for complaint in complaints(relative, path.read_text(encoding="utf-8")):
            print(f"{relative}: {complaint}")
            wrong += 1
    linked = "the linked objects were not looked at"
    if commands:
        symbols = symbols_of(commands)
        linked = f"{len({layer for layer, *_ in symbols})} layers linked"
        if not symbols:
            sys.exit(f"{commands}: no object of a layer was found")
        for complaint in link_complaints(symbols):
            print(complaint)
            wrong += 1
    print(f"{len(files)} files, {linked}, {wrong} ties against the layers")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
