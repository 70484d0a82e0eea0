#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes NAME.json beside each NAME.jinja here: conversations as transformers' apply_chat_template
renders them, or the error that the template raises. The tests compare with these files, and need
neither this script nor transformers.

usage: python3 render.py     (pip install transformers jinja2)
"""

import datetime
import json
import pathlib

import transformers
from transformers.utils import chat_template_utils

BOS, EOS = "<s>", "</s>"


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 7, 30, 12, 34, 56)


def tool(name, description, properties, required):
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function",
            "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    tool("get_weather", 'Weather & "<wind>" of a city — now',
         {"city": {"type": "string"}, "days": {"type": "integer"}}, ["city"]),
    tool("send_mail", "Sends a mail",
         {"to": {"type": "array", "items": {"type": "string"}}, "urgent": {"type": "boolean"}}, ["to"]),
]


def system(text):
    return {"role": "system", "content": text}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, *calls, **more):
    message = {"role": "assistant", "content": text, **more}
    if calls:
        message["tool_calls"] = list(calls)
    return message


def call(identity, name, arguments):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(identity, name, text):
    return {"role": "tool", "tool_call_id": identity, "name": name, "content": text}


WEATHER = {"city": "Köln", "days": 3}
MAIL = {"to": ["a@b.c", "it's \"me\""], "urgent": True}
ONE = call("abcdefgh1", "get_weather", WEATHER)
TWO = call("abcdefgh2", "send_mail", MAIL)
TEXT = call("abcdefgh1", "get_weather", json.dumps(WEATHER, ensure_ascii=False))

# name: messages, tools, further variables
CASES = {
    "question": ([user("  Hello\n")], None, {}),
    "system": ([system("Be brief.\n"), user("Hello")], None, {}),
    "turns": ([user("Hi"), assistant("Hello!\n"), user("Bye")], None, {}),
    "tools": ([system("Be brief."), user("Weather?")], TOOLS, {}),
    "xml_tools": ([system("Be brief."), user("Weather?")], None, {"xml_tools": TOOLS}),
    "call": ([user("Weather?"), assistant("", ONE)], TOOLS, {}),
    "call_text": ([user("Weather?"), assistant("", TEXT)], TOOLS, {}),
    "said_and_called": ([user("Weather?"), assistant("I look.", ONE)], TOOLS, {}),
    "no_content": ([user("Weather?"), {"role": "assistant", "tool_calls": [ONE]}], TOOLS, {}),
    "result": ([user("Weather?"), assistant("", ONE),
                result("abcdefgh1", "get_weather", '{"sky": "grey"}')], TOOLS, {}),
    "two": ([user("Both"), assistant("", ONE, TWO), result("abcdefgh1", "get_weather", "rain\n"),
             result("abcdefgh2", "send_mail", "sent"), assistant("Done."), user("Thanks")], TOOLS, {}),
    "numbers": ([user("x"), assistant("", call("abcdefgh1", "get_weather",
                                               {"a": 1.5, "b": 230.0, "c": 1e20, "d": None,
                                                "e": {"f": []}, "g": 9007199254740993}))], TOOLS, {}),
    "thought": ([user("q"), assistant("a", reasoning_content="hm"), user("r"),
                 assistant("b", reasoning_content="so")], None, {}),
    "thought_in_text": ([user("q"), assistant("<think>\nhm\n</think>\n\na"), user("r")], None, {}),
    "thought_and_called": ([user("q"), assistant("", ONE, reasoning_content="hm"),
                            result("abcdefgh1", "get_weather", "rain")], TOOLS, {}),
    "no_thinking": ([user("q")], None, {"enable_thinking": False}),
    "two_users": ([user("a"), user("b")], None, {}),
    "two_systems": ([system("a"), user("b"), assistant("c"), system("d"), user("e")], None, {}),
    "developer": ([{"role": "developer", "content": "a"}, user("b")], None, {}),
    "told_in_system": ([{**system("a"), "tools": json.dumps(TOOLS)}, user("b")], None, {}),
    "parts": ([user([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}])], None, {}),
}


def render(source, messages, tools, variables, prompt):
    rendered, _ = chat_template_utils.render_jinja_template(
        conversations=[messages], tools=tools, chat_template=source, add_generation_prompt=prompt,
        bos_token=BOS, eos_token=EOS, **variables)
    return rendered[0]


def main():
    chat_template_utils.datetime = Frozen
    folder = pathlib.Path(__file__).parent
    conversations = {name: {"messages": m, "tools": t, "variables": v}
                     for name, (m, t, v) in CASES.items()}
    (folder / "conversations.json").write_text(
        json.dumps({"bos": BOS, "eos": EOS, "time": "2026-07-30 12:34:56",
                    "transformers": transformers.__version__, "conversations": conversations},
                   ensure_ascii=False, indent=1) + "\n", "utf-8")
    for path in sorted(folder.glob("*.jinja")):
        cases = []
        for name, (messages, tools, variables) in CASES.items():
            for prompt in (False, True):
                case = {"name": name + (" and prompt" if prompt else ""), "prompt": prompt}
                try:
                    case["text"] = render(path.read_text("utf-8"), messages, tools, variables, prompt)
                except Exception as e:  # pylint: disable=broad-except  # of any kind, as Python has them
                    case["error"] = str(e)
                cases.append(case)
        path.with_suffix(".json").write_text(
            json.dumps(cases, ensure_ascii=False, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
