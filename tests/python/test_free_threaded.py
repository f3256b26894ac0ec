#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The package on a free-threaded Python, where nothing of ours may need the GIL;
and on one with a GIL, where the same must hold with it."""

import os
import pickle
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import threading
import unittest

import freethreading
import support

FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

#: Uses what there is, and says whether the GIL is on here and in the workers.
PROGRAM = """
    import sys
    import freethreading as ft

    def gil(_=None):
        return getattr(sys, "_is_gil_enabled", lambda: True)()

    def put(queue, lock, event):
        event.wait()
        with lock:
            queue.put(gil())

    if __name__ == "__main__":
        queue, lock, event = ft.Queue(), ft.Lock(), ft.Event()
        worker = ft.Worker(target=put, args=(queue, lock, event))
        worker.start()
        event.set()
        seen = {gil(), queue.get()}
        worker.join()
        with ft.WorkerPool(2) as pool:
            seen.update(pool.map(gil, range(8)))
        with ft.WorkerPoolExecutor(2) as executor:
            seen.update(executor.map(gil, range(8)))
        print(ft.get_backend(), *sorted(seen), gil())
"""

#: An extension module that says nothing about the GIL: a free-threaded
#: interpreter enables it for such a one.
LEGACY = """
#include <Python.h>
static PyModuleDef_Slot slots[] = { { 0, NULL } };
static struct PyModuleDef module = { PyModuleDef_HEAD_INIT, "legacy", NULL, 0, NULL, slots };
PyMODINIT_FUNC PyInit_legacy(void) { return PyModuleDef_Init(&module); }
"""

BACKENDS = {"threads": "threading", "processes": "multiprocessing"}


def build_legacy(folder):
    source = os.path.join(folder, "legacy.c")
    with open(source, "w") as file:
        file.write(LEGACY)
    subprocess.run(
        [
            *shlex.split(os.environ.get("CC", "cc")),
            *("-shared", "-fPIC", "-I", sysconfig.get_path("include"), source),
            *("-o", os.path.join(folder, "legacy" + sysconfig.get_config_var("EXT_SUFFIX"))),
        ],
        check=True,
    )


class GilTest(support.TestCase):
    def run_program(self, source=PROGRAM, **env):
        """The words it prints, and what it says on standard error."""
        program = support.Program(source, env={"PYTHON_GIL": "", "FT_BACKEND": "", **env})
        status, out, err = program.finish()
        self.assertEqual(status, 0, err)
        return out.split(), err

    def test_stays_as_it_is(self):
        """Nothing of ours turns the GIL on, not even in the workers."""
        for wish, backend in BACKENDS.items():
            out, err = self.run_program(FT_BACKEND=wish, PYTHONWARNINGS="error")
            self.assertEqual(out, [backend, str(not FREE), str(not FREE)])
            self.assertEqual(err, "")

    def test_choice(self):
        """Threads are the default where they run in parallel."""
        out, _ = self.run_program()
        self.assertEqual(out[0], "threading" if FREE else "multiprocessing")

    def test_user_turns_it_on(self):
        """PYTHON_GIL=1, which an interpreter with a GIL ignores or obeys."""
        out, err = self.run_program(PYTHON_GIL="1", PYTHONWARNINGS="error")
        self.assertEqual(out, ["multiprocessing", "True", "True"])
        self.assertEqual(err, "")
        out, _ = self.run_program(PYTHON_GIL="1", FT_BACKEND="threads")
        self.assertEqual(out, ["threading", "True", "True"])

    def test_module_turns_it_on(self):
        """Before us it decides for processes; after us thread workers go on.  The
        interpreter names the module, once."""
        with tempfile.TemporaryDirectory() as folder:
            build_legacy(folder)
            path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
            before = PROGRAM.replace("import sys\n", "import sys, legacy\n", 1)
            out, err = self.run_program(before, PYTHONPATH=path, FT_BACKEND="auto")
            self.assertEqual(out, ["multiprocessing", "True", "True"])
            after = PROGRAM.replace("as ft\n", "as ft, legacy\n", 1)
            out, late = self.run_program(after, PYTHONPATH=path)
            self.assertEqual(out, ["threading" if FREE else "multiprocessing", "True", "True"])
        # Each process that imports it tells: the program, and the workers' helper.
        told, told_late = err.count("'legacy'"), late.count("'legacy'")
        self.assertEqual(told, 2 if FREE else 0)
        self.assertIn(told_late, (1, 2) if FREE else (0,))

    def test_another_interpreter(self):
        """The module is each interpreter's own: its slots are understood."""
        out = self.assertRuns(
            """
            try:
                import _interpreters as interpreters
            except ModuleNotFoundError:
                import _xxsubinterpreters as interpreters
            code = "import sys; from freethreading import _core; print(_core.Lock().acquire())"
            for _ in range(2):
                one = interpreters.create()
                problem = interpreters.run_string(one, code + "; sys.stdout.flush()")
                assert problem is None, problem
                interpreters.destroy(one)
            from freethreading import _core
            print(_core.Lock().acquire())
            """
        )
        self.assertEqual(out.split(), ["True"] * 3)


def square(x):
    return x * x


class CrowdTest(support.TestCase):
    """Many threads at the same objects, with nothing of their own between them."""

    ROUNDS = 200

    def crowd(self, *functions):
        """Run each in two threads at once; none may fail."""
        problems = []
        start = threading.Barrier(2 * len(functions))

        def run(function):
            try:
                start.wait(support.LIMIT)
                for i in range(self.ROUNDS):
                    function(i)
            except BaseException as error:
                problems.append(error)
                start.abort()

        threads = [support.Thread(run, function) for function in functions * 2]
        for thread in threads:
            thread.done()
        if problems:
            raise problems[0]

    def test_copies(self):
        """Copies of one object come and go in all threads; none takes it away."""
        lock = freethreading.Lock()
        before = support.blocks()
        count = [0]

        def copy(_):
            with pickle.loads(pickle.dumps(lock)):
                count[0] += 1

        self.crowd(copy, copy, lambda _: repr(lock))
        self.assertEqual(count[0], 4 * self.ROUNDS)
        self.assertEqual(support.blocks(), before)

    def test_new_objects(self):
        before = support.blocks()
        self.crowd(
            lambda _: freethreading.Condition(),
            lambda _: freethreading.Barrier(1).wait(),
            lambda i: freethreading.Queue(3).put(i),
            lambda i: freethreading.SimpleQueue().put(i),
        )
        self.assertEqual(support.blocks(), before)

    def test_queue(self):
        queue = freethreading.Queue(5)
        got = []
        self.crowd(queue.put, lambda _: got.append(queue.get()))
        self.assertEqual(sorted(got), sorted([*range(self.ROUNDS)] * 2))
        self.assertTrue(queue.empty())

    def test_pool(self):
        with freethreading.WorkerPool(2) as pool:

            def one(i):
                self.assertEqual(pool.apply(square, (i,)), i * i)

            def called(i):
                done = freethreading.Event()
                result = pool.apply_async(square, (i,), callback=lambda _: done.set())
                self.assertTrue(done.wait(support.LIMIT))
                self.assertEqual(result.get(), i * i)

            def some(i):
                self.assertEqual(sorted(pool.imap_unordered(square, [i] * 3)), [i * i] * 3)

            self.crowd(one, called, some)

    def test_result_for_all(self):
        """One result that several threads wait for is there for each."""
        with freethreading.WorkerPool(2) as pool:
            results = [pool.map_async(square, [i, i + 1]) for i in range(self.ROUNDS)]
            self.crowd(
                lambda i: self.assertEqual(results[i].get(), [i * i, (i + 1) ** 2]),
                lambda i: results[i].ready(),
            )

    def test_executor(self):
        with freethreading.WorkerPoolExecutor(2) as executor:

            def cancelled(i):
                future = executor.submit(square, i)
                if not future.cancel():
                    self.assertEqual(future.result(), i * i)
                self.assertTrue(future.done())

            def called(i):
                seen = []
                future = executor.submit(square, i)
                future.add_done_callback(seen.append)
                self.assertEqual(future.result(), i * i)
                self.assertTrue(support.eventually(lambda: seen == [future]))

            self.crowd(cancelled, called, lambda i: list(executor.map(square, [i] * 3)))


if __name__ == "__main__":
    unittest.main()
