#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The arguments of a demonstration tool: one JSON object on standard input.

Paths come from a model, so they must stay inside the working directory. For shell scripts:
`demo_arguments.py folder` prints the path given as "folder".
"""
import json
import os
import sys


def fail(message):
    sys.exit(message)  # on stderr: its last line is what the model is told


def argument(name):
    try:
        return json.load(sys.stdin)[name]
    except (ValueError, KeyError, TypeError):
        fail(f"argument {name} is missing")


def path_argument(name):
    """An existing file (name "path") or folder (name "folder"), without . and .."""
    path = os.path.normpath(str(argument(name)))
    here = os.path.realpath(".")
    if os.path.commonpath([here, os.path.realpath(path)]) != here:
        fail(f"{path} is outside of the working folder")
    if not (os.path.isdir(path) if name == "folder" else os.path.isfile(path)):
        fail(f"there is no {'folder' if name == 'folder' else 'file'} {path}")
    return path


if __name__ == "__main__":
    print(path_argument(sys.argv[1]))
