#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The choice of the backend: by the interpreter, by the environment, at each import."""

import importlib
import inspect
import json
import multiprocessing.process
import os
import subprocess
import sys
import threading
import unittest
from unittest import mock

import freethreading
from freethreading import _core
from support import LIMIT, TestCase, run

BASES = {
    "threading": threading.Thread,
    "multiprocessing": multiprocessing.process.BaseProcess,
}

PRIMITIVES = [
    "Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "Queue", "RLock",
    "Semaphore", "SimpleQueue",
]  # fmt: skip


def backend(name, reload=True):
    """Within it, the interpreter is one of the wanted kind, and the package anew."""

    class Within:
        def __enter__(self):
            self.patches = [
                mock.patch.object(
                    sys, "_is_gil_enabled", lambda: name == "multiprocessing", create=True
                ),
                mock.patch.dict(os.environ),
            ]
            for patch in self.patches:
                patch.start()
            os.environ.pop("FT_BACKEND", None)
            return self.anew()

        def __exit__(self, *args):
            for patch in self.patches:
                patch.stop()
            self.anew()

        @staticmethod
        def anew():
            if not reload:
                del sys.modules["freethreading"]
            return importlib.reload(importlib.import_module("freethreading"))

    return Within()


class ChoiceTest(TestCase):
    def check(self, package, name):
        self.assertEqual(package.get_backend(), name)
        self.assertTrue(issubclass(package.Worker, BASES[name]))
        others = _core.threads if name == "threading" else _core
        for primitive in PRIMITIVES:
            self.assertIs(getattr(package, primitive), getattr(others, primitive))
        self.assertIsInstance(package.current_worker(), BASES[name])
        ident = threading.get_ident() if name == "threading" else os.getpid()
        self.assertEqual(package.get_ident(), ident)
        for pool in (package.WorkerPool, package.WorkerPoolExecutor):
            self.assertEqual("_thread_" in inspect.getfile(pool), name == "threading")
        for public in package.__all__:
            getattr(package, public)

    def test_reloaded(self):
        for name in ("threading", "multiprocessing", "threading"):
            with backend(name) as package:
                self.check(package, name)

    def test_imported_again(self):
        for name in ("threading", "multiprocessing", "threading"):
            with backend(name, reload=False) as package:
                self.check(package, name)
        sys.modules["freethreading"] = freethreading

    def test_imported_again_from_nothing(self):
        """Also with all modules of the package gone, as a test may do."""
        kept = {key: sys.modules[key] for key in sys.modules if key.startswith("freethreading")}
        try:
            for name in ("threading", "multiprocessing"):
                for key in [key for key in sys.modules if key.startswith("freethreading")]:
                    del sys.modules[key]
                with mock.patch.object(
                    sys, "_is_gil_enabled", lambda: name == "multiprocessing", create=True
                ), mock.patch.dict(os.environ, {"FT_BACKEND": ""}):
                    package = importlib.import_module("freethreading")
                    self.assertEqual(package.get_backend(), name)
                    worker = package.Worker(target=int)
                    worker.start()
                    worker.join()
                    self.assertFalse(worker.is_alive())
        finally:
            for key in [key for key in sys.modules if key.startswith("freethreading")]:
                del sys.modules[key]
            sys.modules.update(kept)

    def test_both_work(self):
        for name in BASES:
            with backend(name) as package:
                queue = package.Queue()
                worker = package.Worker(target=queue.put, args=(42,))
                worker.start()
                self.assertEqual(queue.get(timeout=LIMIT), 42)
                worker.join()
                with package.WorkerPool(2) as pool:
                    self.assertEqual(pool.map(abs, [-1, 2]), [1, 2])
                with package.WorkerPoolExecutor(2) as executor:
                    self.assertEqual(executor.submit(abs, -3).result(), 3)

    def test_old_objects_still_work(self):
        for name, other in [
            ("threading", "multiprocessing"),
            ("multiprocessing", "threading"),
        ]:
            with backend(name) as package:
                queue = package.Queue()
                workers = [package.Worker(target=queue.put, args=(i,)) for i in range(2)]
                workers[0].start()
                pool = package.WorkerPool(1)
                self.addCleanup(pool.terminate)
                with backend(other):
                    workers[1].start()
                    items = [queue.get(timeout=LIMIT) for _ in range(2)]
                    self.assertEqual(sorted(items), [0, 1])
                    for worker in workers:
                        worker.join()
                    self.assertEqual(pool.map(abs, [-1]), [1])

    def test_without_the_question(self):
        """An interpreter that has no sys._is_gil_enabled has a GIL."""
        with backend("threading"):
            with mock.patch.object(sys, "_is_gil_enabled", create=True):
                del sys._is_gil_enabled
                package = importlib.reload(sys.modules["freethreading"])
                self.assertEqual(package.get_backend(), "multiprocessing")

    def test_environment(self):
        for wish, name in [
            ("threads", "threading"),
            ("threading", "threading"),
            (" Threads ", "threading"),
            ("processes", "multiprocessing"),
            ("multiprocessing", "multiprocessing"),
        ]:
            for other in BASES:
                with backend(other), mock.patch.dict(os.environ, {"FT_BACKEND": wish}):
                    package = importlib.reload(sys.modules["freethreading"])
                    self.assertEqual(package.get_backend(), name)
        for wish in ("", "auto"):
            for name in BASES:
                with backend(name), mock.patch.dict(os.environ, {"FT_BACKEND": wish}):
                    package = importlib.reload(sys.modules["freethreading"])
                    self.assertEqual(package.get_backend(), name)

    def test_environment_that_is_wrong(self):
        status, out, err = run("import freethreading", env={"FT_BACKEND": "fibers"})
        self.assertEqual(status, 1)
        self.assertIn("FT_BACKEND='fibers' is not known: say threads, processes or auto", err)

    def test_worker_processes_are_of_the_programs_kind(self):
        """What a fresh interpreter would choose does not matter in a worker."""
        out = self.assertRuns(
            """
            import os, sys
            os.environ.pop("FT_BACKEND", None)
            if __name__ == "__main__":
                sys._is_gil_enabled = lambda: True
            import freethreading
            def show(lock, queue):
                with lock:
                    queue.put((freethreading.get_backend(), type(lock) is freethreading.Lock))
            if __name__ == "__main__":
                queue = freethreading.Queue()
                args = (freethreading.Lock(), queue)
                worker = freethreading.Worker(target=show, args=args)
                worker.start()
                print(*queue.get())
                worker.join()
            """
        )
        self.assertEqual(out, "multiprocessing True\n")


class MainTest(TestCase):
    def show(self, *args, **env):
        return subprocess.run(
            [sys.executable, "-m", "freethreading", *args],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=LIMIT,
        ).stdout

    def test_says_the_backend_and_why(self):
        for wish, name in [("threads", "threading"), ("processes", "multiprocessing")]:
            out = self.show(FT_BACKEND=wish)
            self.assertRegex(out, rf"(?m)^backend +{name} \(FT_BACKEND={wish}\)$")
            facts = json.loads(self.show("--json", FT_BACKEND=wish))
            self.assertEqual(facts["backend"], name)
            self.assertEqual(facts["reason"], f"FT_BACKEND={wish}")

    def test_says_what_is_missing(self):
        self.assertRegex(self.show(FT_PROBE="-clone3"), r"(?m)^ *clone3 .*(off|no)")

    def test_version(self):
        self.assertEqual(self.show("--version").strip(), freethreading.__version__)


if __name__ == "__main__":
    unittest.main()
