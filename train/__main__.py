# SPDX-License-Identifier: Apache-2.0
import argparse

def main():
    parser = argparse.ArgumentParser(prog="python3 -m train")
    sub = parser.add_subparsers(dest="command", required=True)
    p = sub.add_parser("tokenizer"); p.add_argument("--words", default="/usr/share/dict/words"); p.add_argument("--out", required=True)
    args = parser.parse_args()
    if args.command == "tokenizer":
        from . import tokenizer
        tokenizer.main(args.words, args.out)

main()
