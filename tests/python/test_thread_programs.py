#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whole programs with thread workers: how they end, fork, and show what went wrong."""

import os
import signal
import unittest

from support import LIMIT, Program, TestCase, run

THREADS = {"FT_BACKEND": "threads"}

#: A daemon of each sort: asleep, in Python code, waiting for each other, starting others.
DAEMONS = """
    import sys, time
    from freethreading import Lock, Worker
    def sleep():
        time.sleep(60)
    def spin():
        while True:
            pass
    def wait(lock):
        lock.acquire()
    def start():
        try:
            while True:
                w = Worker(target=int, daemon=True)
                w.start()
                w.join()
        except RuntimeError:  # at the very end
            sleep()
    if __name__ == "__main__":
        lock = Lock()
        lock.acquire()
        for target, args in [(sleep, ()), (spin, ()), (wait, (lock,)), (start, ())]:
            Worker(target=target, args=args, daemon=True).start()
        Worker(target=spin, daemon=True).start()
"""


#: All that has workers, from beginning to end.
EVERYTHING = """
    from freethreading import Queue, Worker, WorkerPool, WorkerPoolExecutor
    def square(x):
        return x * x
    if __name__ == "__main__":
        queue = Queue()
        w = Worker(target=queue.put, args=(3,))
        w.start()
        w.join()
        with WorkerPool(2) as pool:
            print(pool.map(square, range(queue.get())))
        with WorkerPoolExecutor(2) as executor:
            print(*executor.map(square, range(3)))
"""


class ThreadsTestCase(TestCase):
    def assertRuns(self, source, *args, env=THREADS, **options):
        return super().assertRuns(source, *args, env=env, **options)


class EndTest(ThreadsTestCase):
    def test_non_daemons_are_waited_for(self):
        out = self.assertRuns(
            """
            import atexit, threading, time
            from freethreading import Worker
            def late():
                threading.main_thread().join()
                print("late", threading.main_thread().is_alive())
                Worker(target=later).start()
            def later():
                time.sleep(0.1)
                print("later")
            if __name__ == "__main__":
                atexit.register(print, "at exit")
                Worker(target=late).start()
                print("main")
            """
        )
        self.assertEqual(out, "main\nlate False\nlater\nat exit\n")

    def test_workers_of_other_threads_are_waited_for(self):
        out = self.assertRuns(
            """
            import threading, time
            from freethreading import Worker
            def later():
                time.sleep(0.1)
                print("later")
            def thread():
                threading.main_thread().join()
                time.sleep(0.1)
                Worker(target=later).start()
            if __name__ == "__main__":
                threading.Thread(target=thread).start()
            """
        )
        self.assertEqual(out, "later\n")

    def test_daemons_are_not_waited_for(self):
        for _ in range(5):
            program = Program(DAEMONS, env=THREADS)
            status, out, err = program.finish(LIMIT / 2)
            self.assertEqual((status, out, err), (0, "", ""))

    def test_started_at_exit(self):
        out = self.assertRuns(
            """
            import atexit
            from freethreading import Worker
            def at_exit():
                worker = Worker(target=print, args=("worker at exit",))
                worker.start()
                worker.join()
            if __name__ == "__main__":
                atexit.register(at_exit)
            """
        )
        self.assertEqual(out, "worker at exit\n")

    def test_too_late(self):
        """An exit function of before the import runs after ours."""
        out = self.assertRuns(
            """
            import atexit
            def at_exit():
                try:
                    Worker(target=print).start()
                except RuntimeError as error:
                    print(error)
            atexit.register(at_exit)
            from freethreading import Worker
            """
        )
        self.assertEqual(out, "can't start a worker at interpreter shutdown\n")

    def test_interrupted_while_waiting(self):
        """Ctrl-C at the end ends the program, as with threading."""
        program = Program(
            """
            import threading, time
            from freethreading import Worker
            def stay():
                threading.main_thread().join()
                print("waiting", flush=True)
                time.sleep(60)
            if __name__ == "__main__":
                Worker(target=stay).start()
            """,
            env=THREADS,
        )
        self.addCleanup(program.kill)
        self.assertEqual(program.process.stdout.readline(), "waiting\n")
        os.kill(program.pid, signal.SIGINT)
        status, out, err = program.finish(LIMIT / 2)
        self.assertIn("KeyboardInterrupt", err)

    def test_interrupted_in_a_join(self):
        program = Program(
            """
            import time
            from freethreading import Worker
            if __name__ == "__main__":
                worker = Worker(target=time.sleep, args=(60,), daemon=True)
                worker.start()
                try:
                    print("joining", flush=True)
                    worker.join()
                except KeyboardInterrupt:
                    print("interrupted")
            """,
            env=THREADS,
        )
        self.addCleanup(program.kill)
        self.assertEqual(program.process.stdout.readline(), "joining\n")
        os.kill(program.pid, signal.SIGINT)
        status, out, err = program.finish(LIMIT / 2)
        self.assertEqual((status, out), (0, "interrupted\n"), err)


class ForkTest(ThreadsTestCase):
    def test_in_the_main_thread(self):
        out = self.assertRuns(
            """
            import os, threading, warnings
            from freethreading import Event, Worker, active_children, enumerate
            warnings.simplefilter("ignore", DeprecationWarning)
            def wait(event):
                event.wait()
            if __name__ == "__main__":
                event = Event()
                worker = Worker(target=wait, args=(event,))
                worker.start()
                pid = os.fork()
                if pid == 0:
                    assert not worker.is_alive()
                    worker.join()
                    assert active_children() == [] and len(enumerate()) == 1
                    raise SystemExit(42)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), worker.is_alive())
                event.set()
                worker.join()
            """
        )
        self.assertEqual(out, "42 True\n")

    def test_in_a_worker(self):
        """The worker is the child's main thread."""
        out = self.assertRuns(
            """
            import os, sys, threading, time, warnings
            from freethreading import Worker, current_worker, enumerate
            warnings.simplefilter("ignore", DeprecationWarning)
            def fork():
                pid = os.fork()
                if pid == 0:
                    me = current_worker()
                    status = 42 * (me.is_alive() and enumerate() == [me] and
                                   threading.main_thread() is me and me.name == "Forks")
                    os._exit(status)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            if __name__ == "__main__":
                other = Worker(target=time.sleep, args=(60,), daemon=True)
                other.start()
                worker = Worker(target=fork, name="Forks")
                worker.start()
                worker.join()
            """
        )
        self.assertEqual(out, "42\n")

    def test_workers_in_the_child(self):
        """As long as nothing is shared between processes, there is nothing to refuse."""
        out = self.assertRuns(
            """
            import os, sys, warnings
            from freethreading import Lock, Queue, Worker
            warnings.simplefilter("error", DeprecationWarning)
            def put(queue):
                queue.put("from the child's worker")
            if __name__ == "__main__":
                for _ in range(3):
                    Worker(target=int).start()
                    worker = Worker(target=int)
                    worker.start()
                    worker.join()
                while len(os.listdir("/proc/self/task")) > 1:
                    pass
                sys.stdout.flush()
                pid = os.fork()  # no thread is left to be warned about
                if pid == 0:
                    queue = Queue()
                    worker = Worker(target=put, args=(queue,))
                    worker.start()
                    print(queue.get())
                    worker.join()
                    sys.exit(0)
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            """
        )
        self.assertEqual(out, "from the child's worker\n0\n")

    def test_threads_of_the_process_backend(self):
        """What is shared between processes is not the forked child's."""
        out = self.assertRuns(
            """
            import os, warnings
            from freethreading import _core
            from freethreading._thread import Worker
            warnings.simplefilter("ignore", DeprecationWarning)
            lock = _core.Lock()
            pid = os.fork()
            if pid == 0:
                try:
                    Worker(target=print, args=("never",)).start()
                except RuntimeError as error:
                    os._exit(42 if "os.fork()" in str(error) else 1)
                os._exit(2)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            """
        )
        self.assertEqual(out, "42\n")


class ShowTest(ThreadsTestCase):
    def test_uncaught_exception(self):
        status, out, err = run(
            """
            from freethreading import Worker
            def f(): raise RuntimeError("on purpose")
            def g(): raise SystemExit("quietly")
            if __name__ == "__main__":
                for target in (f, g):
                    w = Worker(target=target, name="Failing")
                    w.start()
                    w.join()
                print("alive")
            """,
            env=THREADS,
        )
        self.assertEqual((status, out), (0, "alive\n"))
        self.assertIn("Exception in thread Failing:", err)
        self.assertIn("RuntimeError: on purpose", err)
        self.assertNotIn("quietly", err)

    def test_faulthandler_sees_it(self):
        status, out, err = run(
            """
            import faulthandler, os
            from freethreading import Event, Worker
            def a_function_to_find(started, event):
                started.set()
                event.wait()
            if __name__ == "__main__":
                started, event = Event(), Event()
                Worker(target=a_function_to_find, args=(started, event), daemon=True).start()
                started.wait()
                faulthandler.dump_traceback()
                event.set()
            """,
            env=THREADS,
        )
        self.assertEqual(status, 0)
        self.assertIn("a_function_to_find", err)

    def test_in_dev_mode(self):
        """The interpreter's own checks, of whose thread state it is among them."""
        env = {**THREADS, "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
        self.assertEqual(self.assertRuns(EVERYTHING, env=env), "[0, 1, 4]\n0 1 4\n")

    def test_the_gil_stays_off(self):
        out = self.assertRuns(
            """
            import sys, sysconfig, warnings
            warnings.simplefilter("error")
            import freethreading
            from freethreading import *
            if __name__ == "__main__":
                worker = Worker(target=int)
                worker.start()
                worker.join()
                free = sysconfig.get_config_var("Py_GIL_DISABLED")
                print(not free or not sys._is_gil_enabled())
            """
        )
        self.assertEqual(out, "True\n")

    def test_subinterpreters(self):
        out = self.assertRuns(
            """
            import sys
            try:
                import _interpreters as interpreters
            except ImportError:
                import _xxsubinterpreters as interpreters
            code = '''
            import sys
            sys.path[:] = {path!r}
            from freethreading._thread import Worker
            worker = Worker(target=print, args=("sub",), kwargs=dict(flush=True))
            worker.start()
            worker.join()
            if sys.version_info >= (3, 13):  # before, it can't be destroyed with threads
                Worker(target=print, args=("late",), kwargs=dict(flush=True)).start()
            '''
            import textwrap
            id = interpreters.create()
            code = textwrap.dedent(code).format(path=sys.path)
            failed = interpreters.run_string(id, code)
            print(failed, flush=True) if failed else None
            if sys.version_info >= (3, 13):
                interpreters.destroy(id)
            else:
                print("late")
            print("main")
            """
        )
        self.assertEqual(out, "sub\nlate\nmain\n")


if __name__ == "__main__":
    unittest.main()
