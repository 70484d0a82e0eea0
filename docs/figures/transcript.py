#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what the model wrote and was told, in CML, from an event log (asynclm run --log LOG).

usage: transcript.py LOG

Each line begins with the milliseconds at which it was complete. The prompt is left out. Only modes
without the further forms of async+ are shown exactly: a log does not keep what a trap names.
"""

import json
import sys


def main(path):
    with open(path, encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    text = ""

    def say(event, line):
        print(f"{event['t_ms']:6.0f}  {line}")

    for event in events:
        kind = event.get("event")
        if kind == "text":
            text += event["text"]
            *lines, text = text.split("\n")
            for line in lines:
                say(event, line)
            continue
        if kind in ("emitted", "interrupt", "trapped", "finished") and text:
            say(event, text)
            text = ""
        if kind == "emitted":
            say(event, f"[CALL] {event['id']} [HEAD] {event['code']} [END]")
        elif kind == "interrupt":
            say(event, f"[INTR] {event['id']} [HEAD] {event['text']} [END]")
        elif kind == "trapped":
            say(event, "[TRAP][END]")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
