# SPDX-License-Identifier: Apache-2.0
"""What a model called for BFCL's requests, by the official AST checker (package bfcl_eval).

usage: ./dev bfcl prepare CATEGORY... --out FOLDER [--count N]
       ./dev bfcl check RESULT.jsonl...

prepare writes BFCL's own requests of the categories (simple_python, multiple, parallel,
parallel_multiple, live_simple, irrelevance, …) as `asynclm-lab requests --data` reads them, with the
names of types that JSON Schema has. check reads what `asynclm-lab requests --out` wrote.

A request of irrelevance is right where nothing was called. The package's table of models needs the
clients of a dozen services; it is replaced by one that says that names keep their dots.
"""

import argparse
import collections
import json
import sys
import types
from pathlib import Path

TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}


def official():
    """The package's folder of data, its checker, and its enumeration of languages."""
    stub = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = collections.defaultdict(lambda: types.SimpleNamespace(underscore_to_dot=False))
    sys.modules["bfcl_eval.constants.model_config"] = stub
    import bfcl_eval
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    return Path(bfcl_eval.__file__).parent / "data", ast_checker, Language


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def schema(node):
    """With JSON Schema's names of types."""
    if isinstance(node, list):
        return [schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: schema(value) for key, value in node.items()}
    kind = node.get("type")
    if isinstance(kind, str) and kind in TYPES:
        if TYPES[kind] is None:
            del out["type"]
        else:
            out["type"] = TYPES[kind]
    return out


def category_of(data, name):
    requests = lines_of(data / f"BFCL_v4_{name}.json")
    answers = data / "possible_answer" / f"BFCL_v4_{name}.json"
    right = {line["id"]: line["ground_truth"] for line in lines_of(answers)} if answers.exists() else {}
    return requests, right


def prepare(args):
    data, _, _ = official()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    for name in args.category:
        requests, right = category_of(data, name)
        step = max(1, len(requests) // args.count) if args.count else 1
        chosen = requests[::step][: args.count or None]
        path = Path(args.out) / f"{name}.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for request in chosen:
                calls = [{"name": function, "accept": accept}
                         for call in right.get(request["id"], []) for function, accept in call.items()]
                file.write(json.dumps({"id": request["id"], "category": name, "messages": request["question"][0],
                                       "functions": schema(request["function"]), "calls": calls},
                                      ensure_ascii=False) + "\n")
        print(f"{path}: {len(chosen)} of {len(requests)} requests, each {step}th")


def check(args):
    data, checker, language = official()
    known, counts = {}, collections.defaultdict(lambda: [0, 0])
    for path in args.result:
        for line in lines_of(path):
            name = line["category"]
            if name not in known:
                requests, right = category_of(data, name)
                known[name] = {request["id"]: request for request in requests}, right
            requests, right = known[name]
            if line["id"] not in requests:
                sys.exit(f"{path}: {line['id']} is no request of the package's {name}")
            called = [{call["name"]: call["arguments"]} for call in line["calls"]]
            if "irrelevance" in name:
                valid = not called
            else:
                valid = checker(requests[line["id"]]["function"], called, right[line["id"]], language.PYTHON,
                                name, "asynclm")["valid"]
            counts[name, line["mode"]][0] += valid
            counts[name, line["mode"]][1] += 1
            if args.show and not valid:
                print(f"{line['id']} ({line['mode']}): {json.dumps(called, ensure_ascii=False)}")
    print(f"{'category':24}{'mode':>15}{'right':>7}{'of':>6}{'%':>8}")
    for (name, mode), (valid, all_of) in sorted(counts.items()):
        print(f"{name:24}{mode:>15}{valid:>7}{all_of:>6}{100 * valid / all_of:>8.1f}")


def main():
    parser = argparse.ArgumentParser(prog="./dev bfcl", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("prepare", help="BFCL's requests for asynclm-lab requests")
    one.add_argument("category", nargs="+")
    one.add_argument("--out", required=True)
    one.add_argument("--count", type=int, default=0, help="so many, spread over the category; 0: all")
    one.set_defaults(run=prepare)
    two = commands.add_parser("check", help="results by the official checker")
    two.add_argument("result", nargs="+")
    two.add_argument("--show", action="store_true", help="print what was wrong")
    two.set_defaults(run=check)
    args = parser.parse_args()
    args.run(args)


main()
