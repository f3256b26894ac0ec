#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ft-bench: the shape of what it prints, writes and draws; never how fast."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(TREE, "tools", "ft-bench")
sys.path.insert(0, os.path.dirname(SCRIPT))

from bench import catalog, goals, kit, locate, plot, report, table

LIMIT = 100


def ft_bench(*arguments, **environment):
    """(status, standard output, standard error) of a run."""
    answer = subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
    )
    return answer.returncode, answer.stdout, answer.stderr


class RunTest(unittest.TestCase):
    """One run of a few rows, looked at from all sides."""

    ROWS = ("c.lock.alone", "py.lock.acquire", "py.queue.trip", "py.pool.start", "scale.lock")

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.json = os.path.join(cls.folder.name, "figures.json")
        cls.status, cls.text, cls.errors = ft_bench(
            "--quick", "--time", "0.01", "--goals", "--json", cls.json, *cls.ROWS
        )
        with open(cls.json) as file:
            cls.document = json.load(file)

    def rows(self, name):
        return [row for row in self.document["rows"] if row["row"] == name]

    def subjects(self, name):
        row = self.rows(name)[0]
        return {subject["name"]: subject for subject in row["subjects"]}

    def test_it_ends_well(self):
        self.assertEqual((self.status, self.errors), (0, ""), self.text)

    def test_machine(self):
        machine = self.document["machine"]
        self.assertEqual(machine["cpus"], len(os.sched_getaffinity(0)))
        self.assertIn("load average", self.text)

    def test_limits_are_in_the_same_table(self):
        for name in ("c.limit.line", "c.limit.futex", "c.limit.copy.far", "c.limit.fork"):
            self.assertEqual(len(self.rows(name)), 1, name)
        self.assertIn("py.limit.call", [row["row"] for row in self.document["rows"]])

    def test_chosen_rows_only(self):
        names = {row["row"] for row in self.document["rows"] if ".limit." not in row["row"]}
        for name in names:
            self.assertTrue(any(word in name for word in self.ROWS), name)

    def test_figures(self):
        for row in self.document["rows"]:
            self.assertIsNone(row["wrong"], row)
            self.assertTrue(row["subjects"], row)
            for subject in row["subjects"]:
                if "off" in subject:
                    self.assertNotIn("failed", subject, subject)
                    continue
                self.assertGreaterEqual(len(subject["samples"]), 3)
                self.assertGreater(min(subject["samples"]), 0)
                self.assertIn(subject["p99"], subject["samples"])
                self.assertLessEqual(subject["median"], subject["p99"])

    def test_pairs(self):
        """Each peer was measured as often as we were, and compared."""
        for row in self.document["rows"]:
            measured = [s for s in row["subjects"] if "off" not in s]
            self.assertLessEqual(len({len(s["samples"]) for s in measured}), 1, row["row"])
            if measured and measured[0]["name"] == kit.OURS:
                for peer in measured[1:]:
                    self.assertGreater(peer["ratio"], 0)

    def test_every_peer_is_named(self):
        for peer in ("glibc", "glibc robust"):
            self.assertIn(peer, self.subjects("c.lock.alone"))
        backend = self.document["sources"][1]["backend"]
        for name in ("py.lock.acquire", "py.queue.trip"):
            for peer in kit.names(backend)[1:]:
                if peer == "joblib" or (peer == "faster-fifo" and "queue" not in name):
                    continue
                self.assertIn(peer, self.subjects(name))
                self.assertIn(peer, self.text)

    def test_goals(self):
        goal = self.subjects("c.lock.alone")["glibc"]["goal"]
        self.assertEqual(goal["aim"], "≥ 1×")
        self.assertRegex(self.text, r"Goals: \d+ of [1-9]\d* reached")

    def test_a_curve_has_a_row_for_each_point(self):
        points = [row["x"] for row in self.rows("py.scale.lock")]
        self.assertEqual(points, [1, 2, 4, 8, 16])
        self.assertRegex(self.text, r"\n  16 workers +[\d.]+ ")

    def test_lines(self):
        row = next(line for line in self.text.splitlines() if line.startswith("  Queue round"))
        number = r" +[\d.,]+"
        self.assertRegex(row, rf"^  Queue round trip{number * 2}  \w+{number * 2} +\S+×")

    def test_shown_again(self):
        status, text, errors = ft_bench("--load", self.json, "--goals")
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual(text, self.text)

    def test_shown_again_with_a_remark_made_at_the_end(self):
        """As when the host took CPU time away: it was not known at the head."""
        late = {**self.document, "remarks_after": ["a late one"]}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(late, file)
            file.flush()
            _, text, _ = ft_bench("--load", file.name)
        self.assertEqual(text.count("Note: a late one\n"), 1)
        self.assertGreater(text.index("Note: a late one"), text.index("Queue round"))

    def test_picture(self):
        for ending, magic in ((".svg", b"<?xml"), (".png", b"\x89PNG")):
            path = os.path.join(self.folder.name, "picture" + ending)
            status, _, errors = ft_bench("--load", self.json, "--plot", path)
            if not plot.available():
                self.assertEqual(status, 2)
                self.assertIn("python3-matplotlib", errors)
                continue
            self.assertEqual((status, errors), (0, ""))
            with open(path, "rb") as file:
                self.assertTrue(file.read().startswith(magic))


class CommandTest(unittest.TestCase):
    def refused(self, *arguments):
        status, text, errors = ft_bench(*arguments)
        self.assertEqual((status, text), (2, ""), errors)
        return errors

    def test_help(self):
        status, text, _ = ft_bench("--help")
        self.assertEqual(status, 0)
        for option in ("--quick", "--time", "--goals", "--json", "--plot", "--python", "--load"):
            self.assertIn(option, text)
        self.assertNotIn("--child", text)

    def test_list(self):
        status, text, errors = ft_bench("--list")
        self.assertEqual((status, errors), (0, ""))
        names = [line.split()[0] for line in text.splitlines()]
        self.assertEqual(len(names), len(set(names)))
        self.assertLessEqual(set(catalog.rows()), set(names))
        self.assertIn("c.pool.map", names)

    def test_refusals(self):
        self.assertIn("no row has nonesuch", self.refused("nonesuch"))
        self.assertIn("--time", self.refused("--time", "0"))
        self.assertIn("--time", self.refused("--time", "nan"))
        self.assertIn("leave nothing", self.refused("--no-c", "--no-python"))
        self.assertIn("cannot write to /nonesuch", self.refused("--json", "/nonesuch/x", "lock"))
        self.assertIn("--load", self.refused("--load", os.devnull))
        if plot.available():
            self.assertIn("knows", self.refused("--plot", "picture.doc", "lock"))

    def test_an_interpreter_that_cannot(self):
        status, text, _ = ft_bench("--no-c", "--time", "0.01", "--python", "/bin/false", "limit")
        self.assertEqual(status, 0)
        self.assertIn("Not measured: /bin/false", text)


class LocateTest(unittest.TestCase):
    """Which of several programs in C is run."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = os.path.realpath(folder.name)
        open(os.path.join(self.tree, "configure.ac"), "w").close()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.tree)

    def build(self, name, flags, when):
        folder = os.path.join(self.tree, "build", name)
        program = os.path.join(folder, "tools", "ft-bench-c")
        for needed in ("python", "tools"):
            os.makedirs(os.path.join(folder, needed))
        with open(os.path.join(folder, "config.status"), "w") as file:
            file.write(f'S["CFLAGS"]="{flags}"')
        with open(program, "w") as file:
            os.chmod(program, 0o755)
        os.utime(program, (when, when))
        return program

    def found(self, path=""):
        with mock.patch.object(locate, "_TREE", self.tree), mock.patch.dict(
            os.environ, PYTHONPATH=path
        ):
            return locate.measurer(None)

    def test_the_last_plain_one(self):
        watched = self.build("b", "-g -fsanitize=thread", 3)
        self.assertEqual(self.found(), watched)
        older = self.build("c", "-O2", 1)
        self.assertEqual(self.found(), older)
        self.assertEqual(self.build("a", "-O2", 2), self.found())

    def test_the_one_that_is_meant(self):
        self.build("new", "-O2", 3)
        here = self.build("here", "-fsanitize=address", 1)
        named = self.build("named", "-O2", 2)
        os.chdir(os.path.join(self.tree, "build", "here"))
        self.assertEqual(self.found(), here)
        self.assertEqual(self.found(os.path.join(self.tree, "build", "named", "python")), named)


class PartsTest(unittest.TestCase):
    def test_every_goal_has_a_row(self):
        status, text, _ = ft_bench("--list")
        self.assertEqual(status, 0)
        names = {line.split()[0] for line in text.splitlines()}
        self.assertLessEqual({*goals._PYTHON, *goals._C}, names)

    def test_goal(self):
        self.assertEqual(
            goals.of("py.event.set", "threading", 1, "threads", True, 8.1), ("≥ 8×", True)
        )
        self.assertEqual(
            goals.of("py.event.set", "multiprocessing", 1, "forkserver", True, 8.1),
            ("≥ 15×", False),
        )
        self.assertIsNone(goals.of("py.event.set", "multiprocessing", 1, "fork", False, 8.1))
        self.assertEqual(goals.of("py.scale.queue", "", 99, "x", True, None), ("≤ 100", True))
        self.assertIsNone(goals.of("py.worker.program", "", 1, "fork", True, 2))

    def test_p99(self):
        self.assertEqual(report.p99([5]), 5)
        self.assertEqual(report.p99(list(range(1, 101))), 99)
        self.assertEqual(report.p99(list(range(1, 1001))), 990)

    def test_ratio_is_of_pairs(self):
        ours = {"name": kit.OURS, "samples": [1, 2, 100], "median": 2, "p99": 100}
        peer = {"name": "fork", "samples": [3, 6, 50], "median": 6, "p99": 50}
        report._compare("none", "", [ours, peer])
        self.assertEqual(peer["ratio"], 3)

    def test_numbers(self):
        texts = [table.number(x) for x in (0.01234, 0.9999, 1.234, 12.34, 123.4, 1234567)]
        self.assertEqual(texts, ["0.012", "1.00", "1.23", "12.3", "123", "1,234,567"])

    def test_peers_that_are_absent_say_what_to_do(self):
        if importlib.util.find_spec("faster_fifo") is None:
            with self.assertRaisesRegex(kit.Absent, "pip install faster-fifo"):
                kit.make("faster-fifo", "multiprocessing")


if __name__ == "__main__":
    unittest.main()
