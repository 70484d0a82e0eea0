#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""That lint_layers.py finds what it is there to find."""

import pathlib
import unittest

import lint_layers


def found(path, line):
    return list(lint_layers.complaints(pathlib.Path(path), f"#pragma once\n{line}\n"))


class LayersTest(unittest.TestCase):
    def test_allowed(self):
        for path, line in [
            ("src/session/a.cc", '#include "cml/parser.h"'),
            ("src/session/a.cc", "#include <asynclm/error.h>"),
            ("src/engine/llama_engine.cc", "#include <llama.h>"),
            ("src/engine/llama_engine.cc", "#include <ggml-backend.h>"),
            ("src/tools/a.cc", "#include <boost/asio.hpp>"),
            ("src/models/http.cc", "#include <curl/curl.h>"),
            ("src/models/a.cc", '#include "base/file.h"'),
            ("lab/commands/a.cc", '#include "cli/assets.h"'),
            ("lab/oracle/a.cc", '#include "session/session_impl.h"'),
            ("lab/fixtures/random.cc", "#include <gguf.h>"),
            ("src/session/a_test.cc", '#include "oracle/test_oracle.h"'),
            ("src/session/a_test.cc", '#include "fixtures/fake_engine.h"'),
            ("src/cml/a.h", "#include <asynclm/protocol.h>"),
            ("include/asynclm/runtime.h", "#include <asynclm/tool.h>"),
            ("src/cml/a.cc", '// #include "session/a.h" would be wrong'),
            ("include/asynclm/tool.h", "#include <nlohmann/json.hpp>"),
        ]:
            with self.subTest(path=path, line=line):
                self.assertEqual(found(path, line), [])

    def test_forbidden(self):
        for path, line in [
            ("src/cml/a.cc", '#include "session/a.h"'),
            ("src/base/a.h", '#  include "engine/a.h"'),
            ("lab/oracle/a.cc", '#include "runtime/a.h"'),
            ("src/runtime/a.cc", '#include "oracle/a.h"'),
            ("src/cli/a.cc", '#include "bench/a.h"'),
            ("src/engine/a.cc", '#include "fixtures/fake_engine.h"'),
            ("src/cml/a.h", "#include <asynclm/session.h>"),
            ("src/session/a.h", "#include <asynclm/tool.h>"),
            ("include/asynclm/engine.h", "#include <asynclm/protocols.h>"),
            ("include/asynclm/protocol.h", "#include <asynclm/session.h>"),
            ("src/engine/fake.cc", "#include <llama.h>"),
            ("src/session/llama.cc", "#include <llama-cpp.h>"),
            ("src/cml/a.cc", '#include "gguf.h"'),
            ("src/session/a.cc", "#include <boost/asio.hpp>"),
            ("include/asynclm/tool.h", "#include <llama.h>"),
            ("include/asynclm/tool.h", "#include <boost/asio.hpp>"),
            ("include/asynclm/tool.h", "#include <sqlite3.h>"),
            ("include/asynclm/tool.h", '#include "base/clock.h"'),
            ("src/session/a.cc", '#include "a.h"'),
            ("src/session/a.cc", '#include "oracle/test_oracle.h"'),
            ("include/asynclm/unknown.h", ""),
            ("src/base/a.cc", "#include <boost/nowide/utf/utf.hpp>"),
            ("src/models/store.cc", "#include <curl/curl.h>"),
            ("src/models/puller.cc", "#include <openssl/evp.h>"),
            ("src/models/http.cc", "#include <archive.h>"),
            ("src/models/a.cc", '#include "engine/llama_library.h"'),
            ("src/server/a.cc", ""),
        ]:
            with self.subTest(path=path, line=line):
                self.assertEqual(len(found(path, line)), 1)

    def test_links(self):
        symbols = [
            ("cml", "writer.o", "U", "asynclm::to_string(asynclm::Mode)"),
            ("session", "session.o", "T", "asynclm::to_string(asynclm::Mode)"),
            ("session", "session.o", "U", "asynclm::encode(int)"),
            ("cml", "writer.o", "T", "asynclm::encode(int)"),
            ("session", "session.o", "U", "malloc"),
        ]
        (complaint,) = lint_layers.link_complaints(symbols)
        self.assertIn("writer.o needs asynclm::to_string", complaint)


if __name__ == "__main__":
    unittest.main()
