# SPDX-License-Identifier: Apache-2.0
"""A built program as its users meet it, for the tests of asynclm and asynclm-lab."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata
import unittest
from pathlib import Path

PROGRAM = ""
SOURCE = Path()
MODEL = Path()

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")
FAR = 600  # seconds; nothing here takes so long unless it hangs


def environment(**changes):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "ASYNCLM_MODEL")}
    env["TERM"] = "xterm-256color"
    # The default model is a download of a gigabyte; what a model says matters in few tests.
    env["ASYNCLM_MODEL"] = str(MODEL)
    for key, value in changes.items():
        env[key] = value
    return env


def run(*args, **options):
    env = environment(**options.pop("env", {}))
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=FAR,
                          env=env, stdin=subprocess.DEVNULL, **options)


def children_of(pid):
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before it, in brackets, may have spaces.
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                children.append(stat.parent.name)
        except OSError:  # it has ended
            pass
    return children


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *args, columns=80, rows=24, env=None):
        self.raw = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, [PROGRAM, *map(str, args)], environment(**(env or {})))
        self.resize(columns, rows)

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, data):
        os.write(self.fd, data)

    def signal_twice(self):
        # Two signals of a kind could melt into one, and between two the program could end by itself.
        os.kill(self.pid, signal.SIGSTOP)
        os.kill(self.pid, signal.SIGINT)
        os.kill(self.pid, signal.SIGTERM)
        os.kill(self.pid, signal.SIGCONT)

    def _read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the program is gone
            return False
        self.raw += data
        return bool(data)

    def wait_for(self, text):
        end = time.monotonic() + FAR
        while text.encode() not in self.raw:
            if time.monotonic() > end or not self._read(end - time.monotonic()):
                raise AssertionError(f"{text!r} did not come; there was {self.raw!r}")

    def finish(self):
        """Exit status (as in a shell), and everything that was written."""
        while self._read(FAR):
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status, self.raw.decode()


def width(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in ESCAPES.sub("", line))


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def assertUsageError(self, result, *words):
        self.assertEqual(result.returncode, 2, result)
        self.assertEqual(result.stdout, "")
        for word in words:
            self.assertIn(str(word), result.stderr)


class ModelTest(CliTest):
    def setUp(self):
        super().setUp()
        if not MODEL.is_file():
            self.skipTest(f"{MODEL} does not exist")


def main():
    """Runs the tests of the script that was started as SCRIPT PROGRAM SOURCE_DIR [unittest arguments]."""
    global PROGRAM, SOURCE, MODEL
    PROGRAM = os.path.abspath(sys.argv[1])
    SOURCE = Path(sys.argv[2])
    MODEL = SOURCE / "tests" / "data" / "toy.gguf"
    unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
