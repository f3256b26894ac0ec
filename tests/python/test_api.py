#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The example programs of the API text, as they stand there, on both backends."""

import glob
import os
import re
import unittest

from support import TestCase

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "api")

THREADS, PROCESSES = "threads", "processes"


def restricted(names):
    return [f"'{name}': in restricted section" for name in names]


WORKERS = [f"Worker-{i}" for i in range(3)]

#: Which worker of the executor it is depends on who gets there first.
OVERVIEW = {
    PROCESSES: ["MainProcess", "Hello from MyWorker!", "[0, 1, 4, 9, 16]",
                re.compile("^Hello from ForkServerProcess-[45]!$")],
    THREADS: ["MainThread", "Hello from MyWorker!", "[0, 1, 4, 9, 16]",
              re.compile("^Hello from ThreadPoolExecutor-0_[01]!$")],
}  # fmt: skip

#: What each program prints: on both backends, or on each.
OUTPUT = {
    "active_children": ["['Daemon']"],
    "active_count": ["2"],
    "barrier": [
        f"'{name}' {done} checkpoint" for done in ("reached", "passed") for name in WORKERS
    ],
    "bounded_semaphore": restricted(WORKERS),
    "condition": ["'Producer' sent: 42", "'Consumer' received: 42"],
    "current_worker": {PROCESSES: ["MainProcess"], THREADS: ["MainThread"]},
    "enumerate": {
        PROCESSES: ["['Daemon', 'MainProcess']"],
        THREADS: ["['MainThread', 'Daemon']"],
    },
    "event": [
        "'Waiter': waiting for notification",
        "'Notifier': sent notification",
        "'Waiter': received notification",
    ],
    "lock": [f"'Worker-{i}': acquired lock" for i in (1, 2, 3)],
    "overview": OVERVIEW,
    "queue": [f"{what} {i}" for what in ("Producing", "Consuming") for i in range(3)],
    "readme_classes": ["True", "True", "data"],
    "readme_functions": ["0", "1", re.compile(r"\d+")],
    "readme_workers": OVERVIEW,
    "rlock": [f"'Worker-0': {count}" for count in ("3...", "2...", "1...", "go!")],
    "semaphore": restricted(WORKERS),
    "simple_queue": ["hello", "world", "True"],
    "worker": ["Hello from Worker!"],
    "worker_pool": ["[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]"],
    "worker_pool_executor": ["[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]"],
}

#: In these several workers print at a time, and only the order of some lines is
#: sure: that of each list.  A line and its end may come apart, as with any print.
SURE = {
    "barrier": [[f"'{name}' reached checkpoint", f"'{name}' passed checkpoint"]
                for name in WORKERS],
    "bounded_semaphore": [],
    "event": [["'Waiter': waiting for notification", "'Waiter': received notification"]],
    "lock": [],
    "queue": [["Producing 0", "Producing 1", "Producing 2"],
              ["Consuming 0", "Consuming 1", "Consuming 2"]],
    "semaphore": [],
}  # fmt: skip


class ExampleTest(TestCase):
    def check(self, name, backend):
        with open(os.path.join(HERE, f"{name}.py")) as file:
            source = file.read()
        out = self.assertRuns(source, env={"FT_BACKEND": backend})
        expected = OUTPUT[name]
        if isinstance(expected, dict):
            expected = expected[backend]
        if name in SURE:
            self.check_pieces(out, expected, SURE[name])
        else:
            self.check_lines(out.splitlines(), expected)

    def check_pieces(self, out, expected, orders):
        any_of = "|".join(re.escape(line) for line in expected)
        found = re.findall(any_of, out)
        self.assertEqual(sorted(found), sorted(expected), out)
        self.assertEqual(re.sub(any_of, "", out), "\n" * len(expected), out)
        for order in orders:
            self.assertEqual([line for line in found if line in order], order)

    def check_lines(self, lines, expected):
        self.assertEqual(len(lines), len(expected), lines)
        for line, wanted in zip(lines, expected):
            if isinstance(wanted, re.Pattern):
                self.assertRegex(line, wanted)
            else:
                self.assertEqual(line, wanted)

    def test_none_is_forgotten(self):
        files = glob.glob(os.path.join(HERE, "*.py"))
        self.assertEqual(sorted(OUTPUT), sorted(os.path.basename(f)[:-3] for f in files))


def add_tests(name):
    def on_processes(self):
        self.check(name, PROCESSES)

    def on_threads(self):
        self.check(name, THREADS)

    setattr(ExampleTest, f"test_{name}_on_processes", on_processes)
    setattr(ExampleTest, f"test_{name}_on_threads", on_threads)


for name in OUTPUT:
    add_tests(name)


if __name__ == "__main__":
    unittest.main()
