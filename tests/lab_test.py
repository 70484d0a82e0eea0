#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""asynclm-lab on the command line. Usage: lab_test.py PROGRAM SOURCE_DIR [unittest arguments]

What needs the default model is skipped only while that model does not exist."""

import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import program
from program import CliTest, ModelTest, children_of, run


class Eval(ModelTest):
    def test_what_the_monitor_lets_through_is_valid(self):
        result = run("eval", "--tasks", "3", "--max-tokens", "80", "--temperature", "1.5", "--json",
                     "--mode", "sync,sync-parallel,async", "--threads", "1")
        self.assertEqual(result.returncode, 0, result)
        for mode, score in json.loads(result.stdout)["modes"].items():
            with self.subTest(mode):
                self.assertEqual(score["runs"], 3)
                self.assertEqual(score["refused"], 0, score)
                self.assertEqual(score["forged"], 0, score)

    def test_the_shipped_models_know_what_they_were_made_for(self):
        for name, level in (("asynclm", 4), ("asynclm-nano", 2), ("asynclm-nano-cheat-sheet", 6)):
            with self.subTest(name):
                result = run("eval", "--model", program.MODEL if name == "asynclm" else program.SOURCE / "lab" / "models" / f"{name}.gguf", "--level", level, "--tasks", "8", "--mode", "async",
                             "--ctx", "4096", "--max-tokens", "400", "--threads", "1", "--json")
                self.assertEqual(result.returncode, 0, result)
                score = json.loads(result.stdout)["modes"]["async"]
                self.assertGreater(score["calls_right"], 0.6 * score["calls"], score)

    def test_a_run_is_repeatable(self):
        args = ("eval", "--tasks", "2", "--level", "1", "--mode", "async", "--threads", "1")
        self.assertEqual(run(*args).stdout, run(*args).stdout)
        self.assertIn("pass^1", run(*args).stdout)


class Policies(ModelTest):
    def test_each_policy_against_the_best_order(self):
        result = run("bench", "policies", "--tasks", "100")
        self.assertEqual(result.returncode, 0, result)
        lines = re.findall(r"^  ([a-z-]+) +([0-9.]+) +([0-9.]+) +([0-9.]+) % +([0-9.]+)$", result.stdout, re.M)
        self.assertEqual([line[0] for line in lines],
                         2 * ["lpt", "critical-path", "optimal", "as-written", "random"])
        for name, mean, *_, over_random in lines:
            self.assertGreaterEqual(float(mean), 1, name)
            if name in ("lpt", "critical-path", "optimal"):
                self.assertLess(float(over_random), 1, name)
        report = json.loads(run("bench", "policies", "--tasks", "100", "--json").stdout)
        self.assertEqual([c["tasks"] for c in report["comparisons"]], [100, 100])
        told = [(p["name"], f"{p['mean']:.3f}") for c in report["comparisons"] for p in c["policies"]]
        self.assertEqual(told, [line[:2] for line in lines])

    def test_the_teacher_follows_each(self):
        def calls(policy):
            result = run("dataset", "--vocab", str(program.MODEL), "--samples", "20", "--policy", policy)
            self.assertEqual(result.returncode, 0, result)
            return [json.loads(line)["calls"] for line in result.stdout.splitlines()]

        for policy in ("lpt", "critical-path", "optimal", "as-written"):
            self.assertEqual(len(calls(policy)), 20)
        self.assertUsageError(run("dataset", "--policy", "fastest"), "fastest", "critical-path")


class MakeModel(CliTest):
    def test_a_model_that_runs_and_is_the_same_for_a_seed(self):
        first, second = self.folder / "a.gguf", self.folder / "b.gguf"
        for path in (first, second):
            result = run("make-model", "--shape", "tiny", "--quant", "q8_0", "--out", path, "--seed", "5")
            self.assertEqual(result.returncode, 0, result)
            self.assertIn("16016 tokens", result.stdout)
        self.assertEqual(first.read_bytes(), second.read_bytes())
        product = program.PROGRAM.removesuffix("-lab")
        result = subprocess.run([product, "run", "--model", first, "--tools", self.file("tools.json", '{"tools": []}'),
                                 "--max-tokens", "8", "--json", "hello"], capture_output=True, text=True)
        self.assertEqual(json.loads(result.stdout)["finish_reason"], "length", result)

    def test_what_is_wrong_is_said(self):
        out = self.folder / "m.gguf"
        self.assertUsageError(run("make-model", "--shape", "llama-9", "--out", out), "llama-9", "llama-3.2-1b")
        self.assertUsageError(run("make-model", "--shape", "tiny", "--quant", "q9", "--out", out), "q9", "q4_0")
        self.assertUsageError(run("make-model", "--shape", "tiny"), "--out")
        self.assertUsageError(run("make-model", "--shape", "tiny", "--out", out, "--words", "/no/words"), "/no/words")
        self.assertUsageError(run("make-model", "--shape", "tiny", "--out", "/no/folder/m.gguf"), "/no/folder")
        self.assertUsageError(run("make-model", "--shape", "tiny", "--out", self.folder), self.folder)
        # A file that cannot grow, as on a full disk.
        limit = lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                         resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
        full = run("make-model", "--shape", "tiny", "--out", out, preexec_fn=limit, restore_signals=False)
        self.assertUsageError(full, out, "cannot be written")
        self.assertEqual(os.listdir(self.folder), [])


class Benches(ModelTest):
    def measured(self, *args):
        result = run("bench", *args, "--json")
        self.assertEqual(result.returncode, 0, result)
        return json.loads(result.stdout), result.stderr

    def test_batch_without_libllamas_benchmark(self):
        args = ["batch", "--sessions", "1,3", "--generate", "12", "--repeat", "1"]
        report, said = self.measured(*args, "--reference", "/no/benchmark")
        self.assertIn("llama.cpp-tools-extra", said)
        self.assertEqual([size["sessions"] for size in report["sizes"]], [1, 3])
        self.assertTrue(all("ratio" not in size and size["own_us_per_token"] > 0 for size in report["sizes"]))

    def test_batch_against_a_benchmark(self):
        other = self.file("other", "#!/bin/sh\necho a line; echo '{\"speed_tg\": 50.0}'\n")
        other.chmod(0o755)
        args = ["batch", "--sessions", "2", "--generate", "12", "--repeat", "2", "--reference", other]
        size = self.measured(*args)[0]["sizes"][0]
        self.assertEqual(size["libllama_tokens_per_s"], 50)
        self.assertEqual(len(size["ratios"]), 2)
        other.write_text("#!/bin/sh\necho no model >&2; exit 3\n")
        self.assertUsageError(run("bench", *args, "--json"), other, "no model")
        other.write_text("#!/bin/sh\necho nothing\n")
        self.assertUsageError(run("bench", *args, "--json"), "speed_tg")

    def test_traps(self):
        report, _ = self.measured("traps", "--context", "200", "--repeat", "1")
        self.assertEqual(report["lengths"], [16, 32, 64, 128, 199])
        self.assertEqual(len(report["map"]), len(report["waits_ms"]))
        self.assertTrue(set("".join(report["map"])) <= set("ksr"))
        self.assertEqual(report["map"][0], "k" * 5)  # 10 us: nothing is so quick
        self.assertNotIn("k", report["map"][-1])
        self.assertEqual([p["tokens"] for p in report["points"]], 3 * [64] + 3 * [199])
        table = run("bench", "traps", "--context", "200", "--repeat", "1").stdout
        self.assertIn("k keep, s swap, r recompute", table)

    def test_load(self):
        args = ["load", "--sessions", "4", "--rate", "100", "--tool-median", "0.02", "--budgets", "1", "--tasks", "2"]
        report, _ = self.measured(*args, "--policies", "keep,on-demand", "--limit", "100")
        arms = report["arms"]
        self.assertEqual([(a["policy"], a["kv_sequences"]) for a in arms], [("unlimited", 4), ("keep", 1), ("on-demand", 1)])
        for arm in arms:
            self.assertEqual((arm["completed"], arm["cancelled"]), (4, 0))
            self.assertTrue(arm["series"])
        self.assertIn("unlimited", run("bench", *args, "--policies", "on-demand").stdout)

    def test_bfcl(self):
        function = {"name": "music.play", "description": "plays", "parameters": {
            "type": "object", "properties": {"artist": {"type": "string"}}, "required": ["artist"]}}
        recording = {"id": "p_0", "messages": [{"role": "user", "content": "play A and B"}], "functions": [function],
                 "calls": [{"name": "music.play", "args": {"artist": name}} for name in "AB"]}
        data = self.file("parallel.jsonl", json.dumps(recording) + "\n").parent
        self.file("function_times_ms.json", '{"music.play": 200}')
        args = ["bfcl", "--data", data, "--model", program.MODEL]
        report, said = self.measured(*args)
        self.assertIn("multi-step is left out", said)
        self.assertEqual([t["workload"] for t in report["latency"]], ["parallel"])
        arms = {a["name"]: a for a in report["latency"][0]["arms"]}
        times = [arms[name]["makespan_ms"]["p50"] for name in ("sync-stateless", "sync", "sync-parallel", "async", "async+")]
        self.assertEqual(times, sorted(times, reverse=True))
        self.assertAlmostEqual(times[0] - times[1], 310)
        self.assertEqual(arms["async"]["over_bound"]["p50"], 1)
        self.assertEqual(self.measured(*args)[0], report)
        self.assertEqual([t["ratio"] for t in report["sweep"]], [0.1, 0.2, 0.35, 0.6, 1, 1.8, 3, 5.5, 10])
        self.assertEqual(len(report["policies"][0]["arms"]), 5)
        report, _ = self.measured(*args, "--parts", "sweep", "--ratios", "1,4")
        self.assertEqual([t["ratio"] for t in report["sweep"]], [1, 4])
        self.assertNotIn("latency", report)
        table = run("bench", *args, "--parts", "latency", "--arms", "sync,async+", "--without", "forced,drafts").stdout
        self.assertIn("over sync", table)
        args = ["bfcl", "--data", data, "--kind", "forced", "--workload", "parallel", "--arms", "sync,async", "--parts", "latency"]
        report, _ = self.measured(*args)
        self.assertGreater(report["machine"]["cores"], 0)
        self.assertEqual(report["latency"][0]["samples"], 1)
        recording["messages"][0]["content"] = 300 * "play A and B "
        self.file("parallel.jsonl", json.dumps(recording) + "\n")
        self.assertUsageError(run("bench", *args, "--context", "256"), "no sample of parallel can be run", "256")

    # What the default model was taught, and its functions.
    KNOWN = {"id": "known_0",
             "messages": [{"role": "user", "content": "Count the lines of harbour and measure the disk usage of train."}],
             "functions": [{"name": name, "description": says, "parameters": {
                 "type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}}
                 for name, says, parameter in (("count_lines", "count the lines of a file", "path"),
                                               ("disk_usage", "measure the disk usage of a folder", "folder"))],
             "calls": [{"name": "count_lines", "args": {"path": "harbour"}},
                       {"name": "disk_usage", "args": {"folder": "train"}}]}

    def test_bfcl_real(self):
        other = {**self.KNOWN, "id": "wrong_1",
                 "calls": [{"name": "count_lines", "args": {"path": "ship"}}]}
        data = self.file("parallel.jsonl", json.dumps(self.KNOWN) + "\n" + json.dumps(other) + "\n").parent
        self.file("function_times_ms.json", '{"count_lines": 30, "disk_usage": 30}')
        log = self.folder / "log"
        args = ["bfcl", "--data", data, "--kind", "real", "--no-calls-in-prompt", "--context", "1024", "--workload", "parallel",
                "--parts", "latency", "--arms", "sync,async,async-wall,naive-server", "--resume", log]
        report, _ = self.measured(*args)
        arms = {a["name"]: a for a in report["latency"][0]["arms"]}
        for name, arm in arms.items():
            self.assertEqual((arm["score"]["runs"], arm["score"]["right"]), (2, 1), name)
            self.assertEqual([ms is None for ms in arm["makespans_ms"]], [False, True])
            self.assertEqual(arm["speed_up"]["sync"]["samples"], 1)
        self.assertGreaterEqual(arms["async"]["makespan_ms"]["p50"], 30)
        self.assertIn("over_bound", arms["async"])
        self.assertNotIn("over_bound", arms["naive-server"])
        # Nothing is measured again: the same times.
        again, said = self.measured(*args)
        self.assertIn("2 samples are in", said)
        self.assertEqual(again["latency"], report["latency"])
        self.assertUsageError(run("bench", *args, "--seed", "2"), "seed: 1 there, 2 here")
        self.assertUsageError(run("bench", *args[:-2], "--server", "/no/server"), "/no/server", "llama.cpp-tools")
        table = run("bench", *args).stdout
        self.assertIn("1/2", table)

    def test_bfcl_stopped_leaves_no_server(self):
        data = self.file("parallel.jsonl", "".join(json.dumps({**self.KNOWN, "id": f"known_{i}"}) + "\n" for i in range(200))).parent
        self.file("function_times_ms.json", '{"count_lines": 200, "disk_usage": 200}')
        args = ["bench", "bfcl", "--data", data, "--kind", "real", "--no-calls-in-prompt", "--context", "1024", "--workload", "parallel",
                "--parts", "latency", "--arms", "naive-server", "--resume", self.folder / "log"]
        process = subprocess.Popen([program.PROGRAM, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not (servers := children_of(process.pid)) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(len(servers), 1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertIn("--resume", said)
        self.assertFalse(Path(f"/proc/{servers[0]}").exists())

    def test_bfcl_says_what_is_missing(self):
        self.assertUsageError(run("bench", "bfcl"), "--data")
        args = ["bench", "bfcl", "--data", self.folder, "--model", program.MODEL]
        self.assertUsageError(run(*args), "parallel.jsonl", "Berkeley Function Calling Leaderboard")
        self.assertUsageError(run(*args, "--workload", "serial"), "serial", "multi-step-parallel-long")
        self.assertUsageError(run(*args, "--arms", "sink"), "sink", "sync-parallel")
        self.assertUsageError(run(*args, "--without", "everything"), "everything", "drafts")
        self.assertUsageError(run(*args, "--ratios", "0"), "--ratios", "0")

    def test_what_is_wrong_is_said(self):
        for args in (["batch", "--sessions", "0"], ["batch", "--generate", "1"], ["traps", "--context", "5"],
                     ["load", "--policies", "guess"], ["load", "--quick", "--sessions", "3"], ["load", "--rate", "-1"],
                     ["traps", "--model", "/no/m.gguf"], ["load", "--words", "/no/words"]):
            with self.subTest(args):
                self.assertUsageError(run("bench", *args))


class Dataset(ModelTest):
    RECORDING = {"id": "p_0", "messages": [{"role": "user", "content": "play A and B"}],
             "functions": [{"name": "music.play", "description": "plays", "parameters": {
                 "type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}}],
             "calls": [{"name": "music.play", "args": {"x": "A"}}, {"name": "music.play", "args": {"x": "B"}}]}

    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, text):
        path = Path(self.folder.name) / name
        path.write_text(text)
        return path

    def dataset(self, *args):
        return run("dataset", "--vocab", program.MODEL, *args)

    def test_same_seed_same_bytes_on_any_number_of_threads(self):
        results = [self.dataset("--samples", "70", "--threads", n) for n in (1, 3)]
        self.assertEqual(results[0].returncode, 0, results[0])
        self.assertEqual(len(results[0].stdout.splitlines()), 70)
        self.assertEqual(results[0].stdout, results[1].stdout)
        self.assertNotEqual(results[0].stdout, self.dataset("--samples", "70", "--seed", "2").stdout)
        for split in ("validation", "test"):
            self.assertNotEqual(results[0].stdout, self.dataset("--samples", "70", "--split", split).stdout)
        self.assertUsageError(self.dataset("--split", "tset"), "tset", "validation")

    def test_recorded_calls_in_each_format(self):
        other = json.dumps({**self.RECORDING, "id": "p_1"})
        recordings = self.file("recordings.jsonl", json.dumps(self.RECORDING) + "\n" + other + "\n")
        ids = self.file("ids.json", json.dumps({"train": {"a": ["p_1"]}, "test": ["p_0"]}))
        for name, key in {"tokens": "tokens", "spans": "spans", "messages": "messages",
                          "sharegpt": "conversations"}.items():
            with self.subTest(name):
                result = self.dataset("--recordings", recordings, "--format", name, "--only", f"{ids}#/train")
                self.assertEqual(result.returncode, 0, result)
                (line,) = map(json.loads, result.stdout.splitlines())
                self.assertEqual((line["id"], line["calls"]), ("p_1", 2))
                self.assertIn(key, line)
                if name != "tokens":
                    self.assertIn('music_play(x=\\"B\\")', result.stdout)
        result = self.dataset("--recordings", recordings, "--without", f"{ids}#/train", "--samples", "5")
        self.assertEqual([json.loads(line)["id"] for line in result.stdout.splitlines()], 5 * ["p_0"])
        score = json.loads(run("eval", "--recordings", recordings, "--calls-in-prompt", "--json", "--mode", "async,sync",
                               "--threads", "1").stdout)
        self.assertEqual(score["tasks"], 2)
        self.assertGreaterEqual(score["modes"]["async"]["calls"], 4)
        policies = run("bench", "policies", "--recordings", recordings)
        self.assertIn("2 tasks", policies.stdout)
        alone = self.file("alone.jsonl", json.dumps({**self.RECORDING, "calls": self.RECORDING["calls"][:1]}) + "\n")
        self.assertUsageError(run("bench", "policies", "--recordings", alone), "two calls")

    def test_what_the_monitor_costs(self):
        self.file("one.jsonl", json.dumps(self.RECORDING) + "\n")
        args = ["bench", "monitor", "--data", self.folder.name, "--set", "one", "--model", program.MODEL]
        result = run(*args, "--json")
        self.assertEqual(result.returncode, 0, result)
        one = json.loads(result.stdout)["sets"]["one"]
        self.assertEqual((one["samples"], len(one["costs"]), len(one["counts"]), len(one["decoding"])), (1, 2, 8, 4))
        plain = one["counts"][0]
        self.assertEqual((plain["features"], plain["calls"], plain["steps"]), ("plain", 2, plain["tokens"]))
        self.assertIn("decoding a call, both", run(*args).stdout)
        self.assertUsageError(run(*args, "--set", "none"), "none.jsonl")

    def test_what_is_wrong_is_said(self):
        recordings = self.file("recordings.jsonl", json.dumps(self.RECORDING) + "\n")
        self.assertUsageError(self.dataset("--recordings", "none.jsonl"), "none.jsonl")
        self.assertUsageError(self.dataset("--recordings", self.file("bad.jsonl", "{}\n")), "bad.jsonl:1: key 'id' not found")
        self.assertUsageError(self.dataset("--recordings", self.folder.name), self.folder.name, "is a folder")
        self.assertUsageError(self.dataset("--samples", "0"), "--samples")
        out = self.file("out.jsonl", "of before\n")
        self.assertUsageError(self.dataset("--recordings", recordings, "--max-tokens", "64", "--out", out),
                              "longer than --max-tokens 64, the shortest has", "--only-called")
        self.assertEqual(out.read_text(), "of before\n")
        for level in ("6", "8"):
            self.assertUsageError(self.dataset("--level", level, "--max-tokens", "64"), "nearly all samples are longer")
        self.assertUsageError(self.dataset("--recordings", recordings, "--without", self.file("i.json", '["p_0"]')),
                              "no recording is left", "--without")
        self.assertUsageError(self.dataset("--recordings", recordings, "--only", "none.json#/a"), "none.json")
        self.assertUsageError(self.dataset("--recordings", recordings, "--only", f"{recordings}#/nothing"), "#/nothing")
        self.assertUsageError(self.dataset("--recordings", recordings, "--level", "2"), "--level")
        self.assertUsageError(self.dataset("--format", "xml"), "xml", "sharegpt")
        for modes in ("asink", "async=x", "async=-1", "async="):
            self.assertUsageError(self.dataset("--modes", modes), modes.split("=")[0])

    def test_what_cannot_be_used_is_left_out(self):
        lines = [self.RECORDING, {**self.RECORDING, "id": "p_1", "calls": []},
                 {**self.RECORDING, "id": "p_2", "calls": [{"name": "music.play", "args": {"x": 7}}]}]
        recordings = self.file("recordings.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        for args in (["dataset", "--vocab", program.MODEL], ["eval", "--threads", "1", "--mode", "sync,sync", "--json"]):
            with self.subTest(args[0]):
                result = run(*args, "--recordings", recordings)
                self.assertEqual(result.returncode, 0, result)
                self.assertIn("1 recordings left out, which have no call", result.stderr)
                self.assertRegex(result.stderr, "p_2 left out: music_play")
        self.assertEqual(json.loads(result.stdout)["modes"]["sync"]["runs"], 1)
        self.assertEqual(json.loads(result.stdout)["tasks"], 1)

    def test_without_leaves_out_what_shares_a_task(self):
        (function,) = self.RECORDING["functions"]
        self.file("multi_turn_functions.json", json.dumps({"Music": [function]}))
        beside = lambda id, *samples: {
            "id": id, "user": "do it", "classes_called": ["Music"],
            "subtasks": [{"user": "", "sample": sample, "calls": self.RECORDING["calls"]} for sample in samples]}
        lines = [beside("m_0", "p_0", "p_1"), beside("m_1", "p_1", "p_2"), beside("m_2", "p_3"),
                 *({**self.RECORDING, "id": f"p_{i}"} for i in range(4))]
        recordings = self.file("all.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        ids = self.file("ids.json", '["m_0", "m_9"]')
        result = self.dataset("--recordings", recordings, "--without", ids)
        self.assertEqual({json.loads(line)["id"] for line in result.stdout.splitlines()}, {"m_2", "p_2", "p_3"}, result)
        self.assertIn("1 recordings left out, and 3 that share a task with one", result.stderr)
        self.assertIn("1 ids are of no recording of these files", result.stderr)
        only = self.file("only.json", '["p_1", "p_3"]')
        result = self.dataset("--recordings", recordings, "--without", ids, "--only", only)
        self.assertEqual({json.loads(line)["id"] for line in result.stdout.splitlines()}, {"p_3"}, result)

    def test_modes_as_asked(self):
        result = self.dataset("--samples", "60", "--modes", "async+=3,sync=1", "--format", "spans", "--level", "4")
        self.assertEqual(result.returncode, 0, result)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual({line["mode"] for line in lines}, {"async+", "sync"})
        self.assertGreater(sum(line["mode"] == "async+" for line in lines), 30)
        self.assertRegex(result.stdout, r"\[HEAD\][a-zA-Z_]+\([a-z_]+=\$")  # a future


if __name__ == "__main__":
    program.main()
