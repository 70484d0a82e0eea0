#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks which file includes what: the layer map of DESIGN.md as a test.

usage: lint_layers.py CHECKOUT
"""

import pathlib
import re
import sys

# A layer may include itself and what stands left of it.
ORDER = ["base", "engine", "cml", "session", "tools", "runtime", "cli"]
BELOW = {layer: set(ORDER[: i + 1]) for i, layer in enumerate(ORDER)}
# The oracle and the synthetic tasks stand beside the runtime; the program uses both.
BELOW["oracle"] = {"base", "engine", "cml", "session", "tools", "oracle"}
# The measurements, of any layer but the program.
BELOW["bench"] = {"base", "engine", "cml", "session", "tools", "runtime", "oracle", "bench"}
BELOW["cli"] |= {"oracle", "bench"}

# Single exceptions to the rules below, each with its reason.
EXCEPTIONS = {
    # A UTF-8 codec in one header, no I/O.
    ("src/base/utf8.cc", "boost/nowide/utf/utf.hpp"),
    # Regular expressions that give up in bounded time, which std::regex does not.
    ("src/cml/schema_pattern.h", "boost/regex.hpp"),
}

LLAMA = re.compile(r"(llama|ggml|gguf)[\w-]*\.h$")
BOOST = re.compile(r"boost/")
SQLITE = re.compile(r"sqlite3")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)


def complaints(path, text):
    """Yields what is wrong with the includes of the file at `path` (relative to the checkout)."""
    parts = path.parts
    public = parts[:2] == ("include", "asynclm")
    layer = None if public else parts[1]
    if not public and layer not in BELOW:
        yield f"src/{layer} is no layer; the layers are {', '.join(sorted(BELOW))}"
        return
    # Tests may also use any layer's test helpers.
    helpers = re.compile(r"\w+/(\w*_)?test_\w+\.h$") if path.name.endswith("_test.cc") else None
    for bracket, name in INCLUDE.findall(text):
        if (path.as_posix(), name) in EXCEPTIONS:
            continue
        if LLAMA.match(name) and not (layer == "engine" and path.name.startswith("llama")):
            yield f"includes <{name}>; only src/engine/llama* may know libllama"
            continue
        if BOOST.match(name) and layer not in ("tools", "runtime", "bench", "cli"):
            yield f"includes <{name}>; Boost is for src/tools, src/runtime, src/bench and src/cli"
        if public and SQLITE.match(name):
            yield f"includes <{name}>; public headers include no SQLite"
        if bracket != '"':
            continue
        target = name.split("/")[0]
        if public:
            yield f'includes "{name}"; public headers include <asynclm/…> and nothing of src/'
        elif "/" not in name or target not in BELOW:
            yield f'includes "{name}"; write "layer/file.h" for src/ and <asynclm/file.h> for include/'
        elif target not in BELOW[layer] and not (helpers and helpers.match(name)):
            yield f'includes "{name}"; {layer} may include only {", ".join(sorted(BELOW[layer]))}'


def main(checkout):
    checkout = pathlib.Path(checkout)
    files = sorted(
        path
        for folder in ("include", "src")
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
    print(f"{len(files)} files, {wrong} forbidden includes")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
