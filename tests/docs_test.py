#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands that README.md, CONTRIBUTING.md, docs/ and examples/ show.
Usage: docs_test.py PROGRAM SOURCE_DIR [unittest arguments]

A block marked sh holds commands; so does an unmarked one with a line that begins with ./dev or "$ ".
Each command runs in a folder that looks like the checkout, where ./dev is a stand-in: it starts
PROGRAM, or the asynclm-lab beside it, and builds nothing. The files that a page shows (a block
marked with a language and a file's name) are there. What cannot run stands in NOT_RUN with a reason.
The C++ of the pages is compiled against the library as installed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = Path()
SOURCE = Path()
MODEL = Path()  # a small one
FAR = 600  # seconds

# Commands that are not run, and why. Each must occur.
NOT_RUN = {
    r"\./dev (build|test)\b": "compiles everything, or runs all tests, this one among them",
    r"\./dev shell -c 'ctest": "runs tests",
    r"\./dev shell -c 'build/dev/tests": "runs tests",
    r"\./dev fuzz\b": "compiles with another compiler, and takes minutes",
    r"\./dev train\b": "needs PyTorch, and a model of others or hours",
    r"\./dev lab dataset .*--recordings": "needs recorded calls and a prepared model",
    r"\./dev lab bench .*--data DATA": "needs recorded calls",
    r"\./dev asynclm models (pull|show|rm) qwen": "needs a network, or half a gigabyte",
    r"\./dev bfcl\b": "needs the Python package index",
    r"\./dev lab requests\b": "needs a model that understands natural requests",
}

STAND_IN = """#!/bin/sh
command=$1; shift
case $command in
  run) [ $# -gt 0 ] || set -- --compare; exec {program} run "$@" ;;
  asynclm) exec {program} "$@" ;;
  lab) exec {lab} "$@" ;;
  shell) exec sh "$@" ;;
  *) echo "docs_test: ./dev $command is not for running here" >&2; exit 2 ;;
esac
"""

# What the fragments of C++ in docs/ may use.
FRAGMENT = """#include <asynclm/runtime.h>
#include <chrono>
#include <iostream>
void fragment([[maybe_unused]] asynclm::Runtime& runtime, [[maybe_unused]] asynclm::Toolbox& tools) {{
{code}
}}
"""


class Block:
    def __init__(self, page, line, info, text):
        language, _, name = info.partition(" ")
        self.where, self.language, self.name, self.text = f"{page}:{line}", language, name, text

    def commands(self):
        """Each with its place; lines that end in a backslash go on."""
        lines = self.text.split("\n")
        prompts = [line for line in lines if line.startswith("$ ")]
        if self.language != "sh" and not prompts and not any(line.startswith("./dev ") for line in lines):
            return
        if self.language not in ("", "sh"):
            return
        if prompts:
            lines = [line[2:] for line in prompts]
        for command in "\n".join(lines).replace("\\\n", " ").split("\n"):
            if command.strip() and not command.lstrip().startswith("#"):
                yield " ".join(command.split("  # ")[0].split())


def blocks(page):
    found = []
    lines = (SOURCE / page).read_text(encoding="utf-8").split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if start is None:
                start, info = number, line[3:].strip()
            else:
                found.append(Block(page, start, info, "\n".join(lines[start : number - 1])))
                start = None
    return found


def pages():
    return ["README.md", "CONTRIBUTING.md", "examples/README.md", "lab/README.md",
            *sorted(f"docs/{path.name}" for path in (SOURCE / "docs").glob("*.md"))]


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        # A folder that looks like the checkout, in which nothing of it can be overwritten by name.
        cls.checkout = cls.folder / "checkout"
        cls.checkout.mkdir()
        for path in SOURCE.resolve().iterdir():
            if path.name not in ("dev", "build") and not path.name.startswith("."):
                (cls.checkout / path.name).symlink_to(path)
        lab = PROGRAM.with_name(PROGRAM.name + "-lab")
        cls.has_lab = lab.is_file()
        stand_in = STAND_IN.format(program=shlex.quote(str(PROGRAM)), lab=shlex.quote(str(lab)))
        (cls.checkout / "dev").write_text(stand_in)
        (cls.checkout / "dev").chmod(0o755)
        (cls.checkout / "build").mkdir()
        (cls.checkout / "build" / "release").symlink_to(PROGRAM.parent)
        (cls.checkout / "your-model.gguf").symlink_to(MODEL)
        cls.blocks = [block for page in pages() for block in blocks(page)]
        for block in cls.blocks:
            if block.name and block.language == "json":
                (cls.checkout / block.name).write_text(block.text)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def run_command(self, command, where, folder=None):
        result = subprocess.run(["bash", "-c", command], cwd=folder or self.checkout, timeout=FAR, text=True,
                                stdin=subprocess.DEVNULL, capture_output=True,
                                env={**os.environ, "ASYNCLM_MODEL": str(MODEL)})
        self.assertEqual(result.returncode, 0, f"{where}: {command}\n{result.stdout}{result.stderr}")
        return result.stdout

    def test_commands(self):
        known, left_out = set(), set()
        for block in self.blocks:
            for command in block.commands():
                reason = next((pattern for pattern in NOT_RUN if re.match(pattern, command)), None)
                if reason is not None:
                    left_out.add(reason)
                elif re.match("cmake|build/|./dev shell -c 'cmake", command):
                    continue  # test_programs
                elif command.startswith("./dev lab") and not self.has_lab:
                    continue
                elif command not in known:
                    known.add(command)
                    with self.subTest(command, where=block.where):
                        self.run_command(command, block.where)
        self.assertTrue(known)
        self.assertEqual(set(NOT_RUN) - left_out, set(), "no page has such a command any more")

    def test_dev_knows_its_commands(self):
        text = (SOURCE / "dev").read_text(encoding="utf-8")
        for block in self.blocks:
            for command in block.commands():
                if match := re.match(r"\./dev (\w+)", command):
                    self.assertRegex(text, rf"(?m)^cmd_{match[1]}\(\)|^  {match[1]} \|", block.where)

    def test_manifests(self):
        for block in self.blocks:
            if block.language == "json":
                self.assertTrue(block.name, f"{block.where}: say which file it is, as in ```json my_tools.json")
                with self.subTest(block.where):
                    is_catalogue = "models" in json.loads(block.text)
                    command = (f"env ASYNCLM_CATALOGUE={block.name} ./dev asynclm models list" if is_catalogue
                               else f"./dev asynclm chat --tools {block.name}")
                    self.run_command(command, block.where)

    def test_options(self):
        """Options and commands of asynclm that stand in the text of a page."""
        def told(*command):
            return subprocess.run([PROGRAM, *command, "--help"], capture_output=True, text=True).stdout

        helps = {command: told(command) for command in ("run", "chat", "replay")}
        helps["models"] = "".join(told("models", *name) for name in ([], ["pull"], ["list"], ["show"], ["rm"]))
        everything = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True).stdout + "".join(helps.values())
        for page in ("README.md", *(page for page in pages() if page.startswith("docs/"))):
            text = re.sub(r"(?ms)^```.*?^```", "", (SOURCE / page).read_text(encoding="utf-8"))
            for code in re.findall(r"`([^`\n]+)`", text):
                words = code.removeprefix("./dev ").split()
                if words[0].startswith("--"):
                    self.assertIn(words[0], everything, page)
                elif words[0] == "asynclm" and len(words) > 1 and words[1] in helps:
                    for word in words:
                        if word.startswith("--"):
                            self.assertIn(word, helps[words[1]], page)
                elif words[0] == "asynclm" and len(words) > 1:
                    self.assertIn(words[1], (*helps, "--help", "--version", "…"), f"{page}: {code}")

    def test_programs(self):
        """The C++ of the pages, against the installed library: the README's program runs, fragments compile."""
        named = {block.name: block for block in self.blocks if block.language in ("cpp", "cmake") and block.name}
        fragments = [block for block in self.blocks if block.language == "cpp" and not block.name]
        commands = [c for block in blocks("README.md") for c in block.commands()]
        install = next(c for c in commands if "cmake --install" in c)
        build = [c for c in commands if c.startswith(("cmake -S", "cmake --build", "build/"))]
        self.assertEqual(len(build), 3, build)
        prefix = str(self.folder / "prefix")

        def placed(command):
            command = re.sub(r"\byour-model\.gguf\b", str(MODEL), command)
            return re.sub(r"\bPREFIX\b", prefix, command)

        self.run_command(placed(install), "README.md")
        program = self.folder / "program"
        program.mkdir()
        for name, block in named.items():
            (program / name).write_text(block.text + "\n")
        generator = "-G Ninja" if shutil.which("ninja") else ""
        build[0] = build[0].replace("cmake ", f"cmake {generator} -D CMAKE_FIND_USE_PACKAGE_REGISTRY=OFF ", 1)
        for command in build:
            output = self.run_command(placed(command), "README.md", program)
        self.assertIn("42", output)

        source = self.folder / "fragments.cc"
        source.write_text("".join(
            FRAGMENT.format(code=block.text).replace("void fragment(", f"void fragment_{i}(")
            for i, block in enumerate(fragments)))
        compiler = os.environ.get("CXX", "c++")
        self.run_command(f"{compiler} -std=c++23 -fsyntax-only -Wall -I {prefix}/include {source}",
                         ", ".join(block.where for block in fragments))


if __name__ == "__main__":
    PROGRAM = Path(sys.argv[1]).resolve()
    SOURCE = Path(sys.argv[2])
    MODEL = SOURCE / "tests" / "data" / "toy.gguf"
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
