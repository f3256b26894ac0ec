# SPDX-License-Identifier: MIT
"""Whole programs: however they are started, and however they end."""

import os
import signal
import unittest

# Programs with processes, whatever their choice would be.
os.environ["FT_BACKEND"] = "processes"

from support import LIMIT, Program, TestCase, descendants, eventually, run

POOL = """
    from freethreading import WorkerPool
    def square(x):
        return x * x
    def main():
        with WorkerPool(2) as pool:
            print(pool.map(square, range(5)))
    if __name__ == "__main__":
        main()
"""

# Without a main module that can be imported again, functions must come from
# elsewhere: as with the standard library's forkserver.
IMPORTED = """
    from freethreading import Worker, WorkerPool
    import math
    if __name__ == "__main__":
        worker = Worker(target=print, args=("hello",))
        worker.start()
        worker.join()
        with WorkerPool(2) as pool:
            print(pool.map(math.sqrt, [1, 4, 9]))
"""

# What the helper looks up to start workers quickly is CPython's own business.
UNKNOWN = """
    import _thread, atexit, sys
    del _thread._count
    from freethreading import Worker, WorkerPool
    def work(name):
        atexit.register(print, "exit", flush=True)
        print("work", name, flush=True)
        sys.exit(3)
    def square(x):
        return x * x
    if __name__ == "__main__":
        worker = Worker(target=work, args=("hard",))
        worker.start()
        worker.join()
        print(worker.exitcode)
        with WorkerPool(2) as pool:
            print(pool.map(square, range(3)))
"""

# The helper is there, and main has not asked for pools, when the pool is made.
SMALL = """
    import freethreading, time
    def alone(*args):
        time.sleep(0.01)
        unique = 0
        for line in open("/proc/self/smaps_rollup"):
            if line.startswith("Private_"):
                unique += int(line.split()[1])
        return unique
    def check(queue):
        queue.put(alone())
    if __name__ == "__main__":
        queue = freethreading.SimpleQueue()
        worker = freethreading.Worker(target=check, args=(queue,))
        worker.start()
        print(queue.get())
        worker.join()
        with freethreading.WorkerPool(2) as pool:
            print(*pool.map(alone, range(8)))
        with freethreading.WorkerPoolExecutor(2) as executor:
            print(*executor.map(alone, range(8)))
"""

FULL = """
    import freethreading, resource
    def fill():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        files = []
        try:
            while True:
                files.append(open("/dev/null"))
        except OSError:
            raise ValueError("no room") from None
    if __name__ == "__main__":
        with freethreading.WorkerPool(1) as pool:
            try:
                pool.apply(fill)
            except ValueError as error:
                print(error, "no room" in str(error.__cause__), type(error.__cause__).__name__)
"""

BUSY = """
    import os, sys, time
    from freethreading import Worker, WorkerPool
    def busy(*args):
        while True:
            time.sleep(60)
    if __name__ == "__main__":
        pool = WorkerPool(2)
        pool.apply_async(busy)
        workers = [Worker(target=busy, daemon=d) for d in (False, True)]
        for worker in workers:
            worker.start()
        print(*[w.pid for w in workers], flush=True)
        pool.map(busy, range(10))
"""


class StartTest(TestCase):
    def test_idle_workers_are_small(self):
        kib = [int(word) for word in self.assertRuns(SMALL).split()]
        self.assertEqual(len(kib), 17)
        self.assertLess(max(kib), 3 << 10)

    def test_errors_without_descriptors(self):
        self.assertEqual(self.assertRuns(FULL), "no room True RemoteTraceback\n")

    def test_script_and_module(self):
        for how in ("script", "module"):
            with self.subTest(how):
                self.assertEqual(self.assertRuns(POOL, how=how), "[0, 1, 4, 9, 16]\n")

    def test_in_dev_mode(self):
        """Nothing to warn of, and what is written to standard error is nothing."""
        env = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
        self.assertEqual(run(POOL, env=env), (0, "[0, 1, 4, 9, 16]\n", ""))

    def test_a_cpython_that_keeps_things_elsewhere(self):
        self.assertEqual(self.assertRuns(UNKNOWN), "work hard\nexit\n3\n[0, 1, 4]\n")

    def test_zipapp(self):
        self.assertEqual(self.assertRuns(POOL, how="zipapp"), "[0, 1, 4, 9, 16]\n")

    def test_command_and_stdin(self):
        for how in ("command", "stdin"):
            with self.subTest(how):
                out = self.assertRuns(IMPORTED, how=how)
                self.assertEqual(out, "hello\n[1.0, 2.0, 3.0]\n")

    def test_functions_of_a_main_that_cant_be_imported(self):
        status, out, err = run(POOL, how="command")
        self.assertNotEqual(status, 0)
        self.assertIn("AttributeError", err)
        self.assertIn("square", err)

    def test_missing_guard(self):
        for source in (
            """
            from freethreading import Worker
            def f(): pass
            w = Worker(target=f)
            w.start()
            w.join()
            raise SystemExit(w.exitcode)
            """,
            """
            from freethreading import WorkerPool
            def f(x): return x
            with WorkerPool(2) as pool:
                pool.map(f, range(3))
            """,
        ):
            status, out, err = run(source)
            self.assertNotEqual(status, 0)
            self.assertIn("if __name__ ==", err)
            self.assertLess(len(err.splitlines()), 80, err)

    def test_other_folder_and_path(self):
        out = self.assertRuns(
            """
            import os, sys
            from freethreading import Worker
            def show(): print(os.getcwd(), sys.argv[1:], sys.path[0] == "/somewhere")
            if __name__ == "__main__":
                os.chdir("/tmp")
                sys.path.insert(0, "/somewhere")
                w = Worker(target=show)
                w.start()
                w.join()
            """,
            "one",
            "two",
        )
        self.assertEqual(out, "/tmp ['one', 'two'] True\n")

    def test_main_that_starts_threads(self):
        out = self.assertRuns(
            """
            import threading
            from freethreading import Worker
            stop = threading.Event()
            threading.Thread(target=stop.wait, daemon=True).start()
            def show(): print("worker")
            if __name__ == "__main__":
                w = Worker(target=show)
                w.start()
                w.join()
                print(w.exitcode)
            """
        )
        self.assertEqual(out, "worker\n0\n")

    def test_uncaught_exception_is_shown(self):
        status, out, err = run(
            """
            from freethreading import Worker
            def f(): raise RuntimeError("on purpose")
            if __name__ == "__main__":
                w = Worker(target=f, name="Failing")
                w.start()
                w.join()
                raise SystemExit(w.exitcode)
            """
        )
        self.assertEqual(status, 1)
        self.assertIn("Process Failing:", err)
        self.assertIn("on purpose", err)

    def test_fork_gets_a_clear_error(self):
        out = self.assertRuns(
            """
            import os, warnings
            from freethreading import Lock, Worker, WorkerPool
            warnings.simplefilter("ignore", DeprecationWarning)
            def f(x): return x
            if __name__ == "__main__":
                with WorkerPool(2) as pool:
                    pool.map(f, range(3))
                    lock = Lock()
                    pid = os.fork()
                    if pid == 0:
                        try:
                            lock.acquire()
                        except RuntimeError as error:
                            os._exit(42 if "os.fork" in str(error) else 1)
                        os._exit(2)
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    print(pool.map(f, range(3)))
            """
        )
        self.assertEqual(out, "42\n[0, 1, 2]\n")

    def test_a_forked_child_ends_in_silence(self):
        source = """
            import os, sys, time, warnings
            from freethreading import Worker, WorkerPool, WorkerPoolExecutor
            warnings.simplefilter("ignore", DeprecationWarning)
            if __name__ == "__main__":
                worker = Worker(target=time.sleep, args=(60,), daemon=True)
                worker.start()
                pool, executor = WorkerPool(1), WorkerPoolExecutor(1)
                print(pool.apply(abs, (-1,)), executor.submit(abs, -2).result(), flush=True)
                pid = os.fork()
                if pid == 0:
                    sys.exit(0)
                print(os.waitpid(pid, 0)[1], executor.submit(abs, -3).result())
                pool.terminate()
                executor.shutdown()
            """
        self.assertEqual(run(source), (0, "1 2\n0 3\n", ""))

    def test_user_waits_and_sigchld(self):
        out = self.assertRuns(
            """
            import os, signal
            from freethreading import Worker, WorkerPool
            def f(x): return x
            def g(): raise SystemExit(3)
            if __name__ == "__main__":
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                with WorkerPool(2) as pool:
                    print(pool.map(f, range(3)))
                w = Worker(target=g)
                w.start()
                w.join()
                print(w.exitcode)
            """
        )
        self.assertEqual(out, "[0, 1, 2]\n3\n")


class EndTest(TestCase):
    def busy(self):
        program = Program(BUSY)
        self.addCleanup(program.kill)
        line = program.process.stdout.readline()
        self.assertEqual(len(line.split()), 2, line)
        # Two pool workers, two workers and the helper.
        self.assertTrue(eventually(lambda: len(descendants(program.pid)) == 5))
        return program, descendants(program.pid)

    def test_parent_killed(self):
        program, pids = self.busy()
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(LIMIT)
        self.assertGone(pids)
        program.finish()

    def test_interrupted(self):
        """Ctrl-C goes to the whole group, as from a terminal."""
        program, pids = self.busy()
        os.killpg(program.pid, signal.SIGINT)
        status, out, err = program.finish()
        self.assertEqual(status, -signal.SIGINT, err)
        self.assertGone(pids)

    def test_interrupted_alone(self):
        """A SIGINT to the program only: the non-daemon worker is waited for,
        and the second one ends that, as with multiprocessing."""
        program, pids = self.busy()
        os.kill(program.pid, signal.SIGINT)
        self.assertTrue(eventually(lambda: len(descendants(program.pid)) < 5))
        os.kill(program.pid, signal.SIGINT)
        status, out, err = program.finish()
        self.assertNotEqual(status, 0)
        self.assertGone(pids)

    def test_terminated(self):
        program, pids = self.busy()
        os.kill(program.pid, signal.SIGTERM)
        program.finish()
        self.assertGone(pids)

    def test_output_is_flushed_and_non_daemons_are_waited_for(self):
        out = self.assertRuns(
            """
            import atexit, time
            from freethreading import Worker
            def late():
                time.sleep(0.1)
                atexit.register(print, "at exit")
                print("late", end=" ")
            if __name__ == "__main__":
                Worker(target=late).start()
                print("main")
            """
        )
        self.assertEqual(out, "main\nlate at exit\n")

    def test_pool_left_open(self):
        out = self.assertRuns(
            """
            import time
            from freethreading import WorkerPool, WorkerPoolExecutor
            def f(x): return x
            if __name__ == "__main__":
                pool = WorkerPool(2)
                print(pool.map(f, range(3)))
                pool.apply_async(time.sleep, (60,))
                executor = WorkerPoolExecutor(2)
                executor.submit(print, "from the executor")
            """
        )
        self.assertEqual(out, "[0, 1, 2]\nfrom the executor\n")

    def test_refused_features_give_the_same(self):
        for probe in ("-io_uring-futex", "-io_uring", "-clone3", "-clone3,-io_uring"):
            with self.subTest(probe):
                out = self.assertRuns(POOL, env={"FT_PROBE": probe})
                self.assertEqual(out, "[0, 1, 4, 9, 16]\n")


if __name__ == "__main__":
    unittest.main()
