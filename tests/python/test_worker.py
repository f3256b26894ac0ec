# SPDX-License-Identifier: MIT
"""freethreading.Worker on processes, as the API text and multiprocessing say."""

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import operator
import os
import signal
import sys
import tempfile
import threading
import time
import unittest

# Workers as processes, whatever the program's choice would be.
os.environ["FT_BACKEND"] = "processes"

import freethreading
from freethreading import Event, Lock, Queue, Worker, _core, current_worker
from support import LIMIT, TestCase, descendants, eventually, no_spares


def nothing():
    pass


def tell(queue, *args, **kwargs):
    queue.put((args, kwargs, current_worker().name, os.getpid(), os.getppid()))


def leave(status):
    sys.exit(status)


def leave_hard(status):
    os._exit(status)


def fail():
    raise RuntimeError("on purpose")


def wait_for(event):
    event.wait()


def hold(lock, held):
    lock.acquire()
    held.set()
    time.sleep(LIMIT)


def program(queue):
    process = multiprocessing.current_process()
    path = [entry for entry in sys.path if "changed" in entry]
    queue.put((os.getcwd(), path, sys.argv, bytes(process.authkey), sys.stdin.read()))


def start_method(queue):
    queue.put((multiprocessing.get_start_method(allow_none=True), "changed" in sys.argv))


def exit_handlers(queue):
    atexit.register(queue.put, "exit handler")
    multiprocessing.util.Finalize(None, queue.put, ("finalizer",), exitpriority=1)
    threading.Thread(target=queue.put, args=("thread",)).start()


def children(queue):
    inner = Worker(target=tell, args=(queue, "inner"), name="Inner")
    inner.start()
    inner.join()


class Around(Worker):
    def _bootstrap(self, parent_sentinel=None):
        self._args[0].put("around")
        return super()._bootstrap(parent_sentinel)


class Runs(Worker):
    def __init__(self, queue):
        super().__init__(name="Runs")
        self.queue = queue

    def run(self):
        self.queue.put(self.name)


class WorkerTest(TestCase):
    def start(self, *args, **kwargs):
        worker = Worker(*args, **kwargs)
        worker.start()
        self.addCleanup(lambda: worker.is_alive() and (worker.kill(), worker.join()))
        return worker

    def test_runs_its_target_in_a_child_of_ours(self):
        queue = Queue()
        worker = self.start(target=tell, name="W", args=(queue, 1), kwargs={"a": 2})
        args, kwargs, name, pid, parent = queue.get(timeout=LIMIT)
        worker.join()
        self.assertEqual((args, kwargs, name), ((1,), {"a": 2}, "W"))
        self.assertEqual((pid, parent), (worker.pid, os.getpid()))
        self.assertEqual(worker.exitcode, 0)
        self.assertFalse(worker.is_alive())

    def test_kernel_sees_the_name(self):
        event = Event()
        worker = self.start(target=wait_for, name="a-quite-long-name", args=(event,))
        with open(f"/proc/{worker.pid}/comm") as comm:
            self.assertEqual(comm.read().rstrip(), "a-quite-long-na")
        event.set()
        worker.join()

    def test_exit_codes(self):
        for target, args, expected in [
            (leave, (None,), 0),
            (leave, (7,), 7),
            (leave, ("message",), 1),
            (leave_hard, (9,), 9),
            (fail, (), 1),
        ]:
            with self.subTest(target=target, args=args):
                worker = self.start(target=target, args=args)
                worker.join(LIMIT)
                self.assertEqual(worker.exitcode, expected)

    def test_signals(self):
        for stop, expected in [("kill", -signal.SIGKILL), ("terminate", -signal.SIGTERM)]:
            event = Event()
            worker = self.start(target=wait_for, args=(event,))
            self.assertTrue(worker.is_alive())
            self.assertIsNone(worker.exitcode)
            getattr(worker, stop)()
            worker.join(LIMIT)
            self.assertEqual(worker.exitcode, expected)

    def test_join_with_a_deadline(self):
        event = Event()
        worker = self.start(target=wait_for, args=(event,))
        worker.join(0.01)
        self.assertTrue(worker.is_alive())
        event.set()
        worker.join()
        worker.join()
        self.assertFalse(worker.is_alive())

    def test_misuse(self):
        worker = Worker(target=nothing)
        with self.assertRaises(AssertionError):
            worker.join()
        worker.start()
        with self.assertRaises(AssertionError):
            worker.start()
        worker.join()

    def test_what_cant_be_pickled_is_refused_before_anything_starts(self):
        before = set(freethreading.active_children())
        for arguments, named in [
            ({"target": lambda: None}, "target"),
            ({"target": nothing, "args": (lambda: None,)}, "args"),
            ({"target": nothing, "kwargs": {"x": (i for i in "")}}, "kwargs"),
        ]:
            with self.assertRaisesRegex(ValueError, named):
                Worker(**arguments)
        self.assertEqual(set(freethreading.active_children()), before)

    def test_subclass(self):
        queue = Queue()
        worker = Runs(queue)
        worker.start()
        self.assertEqual(queue.get(timeout=LIMIT), "Runs")
        worker.join()

    def test_has_the_start_method_of_the_program(self):
        queue, method = Queue(), multiprocessing.get_start_method(allow_none=True)
        self.addCleanup(multiprocessing.set_start_method, method, force=True)
        self.addCleanup(setattr, sys, "argv", sys.argv)
        for argv in (sys.argv, [*sys.argv, "changed"]):
            sys.argv = argv
            for method in (None, "spawn", "fork", "forkserver"):
                multiprocessing.set_start_method(method, force=True)
                self.start(target=start_method, args=(queue,)).join()
                self.assertEqual(queue.get(timeout=LIMIT), (method, "changed" in argv))

    def test_sees_what_has_changed_in_the_program(self):
        queue = Queue()
        self.start(target=program, args=(queue,)).join()
        path = [entry for entry in sys.path if "changed" in entry]
        key = bytes(multiprocessing.current_process().authkey)
        self.assertEqual(queue.get(), (os.getcwd(), path, sys.argv, key, ""))
        before = os.getcwd(), sys.argv[:], multiprocessing.current_process().authkey
        with tempfile.TemporaryDirectory() as folder:
            try:
                os.chdir(folder)
                sys.path.append("/changed")
                sys.argv.append("more")
                multiprocessing.current_process().authkey = b"another key"
                self.start(target=program, args=(queue,)).join()
                changed = (folder, [*path, "/changed"], [*before[1], "more"], b"another key", "")
                self.assertEqual(queue.get(), changed)
            finally:
                os.chdir(before[0])
                sys.path.remove("/changed")
                sys.argv[:] = before[1]
                multiprocessing.current_process().authkey = before[2]

    def test_ends_as_a_process_does(self):
        queue = Queue()
        self.start(target=exit_handlers, args=(queue,)).join()
        told = [queue.get(timeout=LIMIT) for _ in range(3)]
        self.assertEqual(sorted(told), ["exit handler", "finalizer", "thread"])
        self.assertEqual(told[2], "exit handler")

    def test_bootstrap_may_be_overridden(self):
        queue = Queue()
        worker = Around(target=tell, name="A", args=(queue,))
        worker.start()
        self.assertEqual(queue.get(timeout=LIMIT), "around")
        self.assertEqual(queue.get(timeout=LIMIT)[2:4], ("A", worker.pid))
        worker.join()
        self.assertEqual(worker.exitcode, 0)

    def test_sentinel_can_be_waited_for(self):
        from multiprocessing.connection import wait

        event = Event()
        worker = self.start(target=wait_for, args=(event,))
        self.assertEqual(wait([worker.sentinel], 0), [])
        event.set()
        self.assertEqual(wait([worker.sentinel], LIMIT), [worker.sentinel])
        worker.join()

    def test_enumerations(self):
        event = Event()
        self.assertEqual(freethreading.enumerate(), [current_worker()])
        worker = self.start(target=wait_for, args=(event,), name="E", daemon=True)
        self.assertEqual(freethreading.active_children(), [worker])
        self.assertEqual([w.name for w in freethreading.enumerate()], ["E", "MainProcess"])
        self.assertEqual(freethreading.active_count(), 2)
        self.assertEqual(freethreading.get_ident(), os.getpid())
        self.assertEqual(freethreading.get_backend(), "multiprocessing")
        event.set()
        worker.join()
        self.assertEqual(freethreading.active_count(), 1)

    def test_a_worker_may_have_workers(self):
        queue = Queue()
        for daemon in (False, True):
            worker = self.start(target=children, args=(queue,), daemon=daemon)
            (args, _, name, _, parent) = queue.get(timeout=LIMIT)
            self.assertEqual((args, name, parent), (("inner",), "Inner", worker.pid))
            worker.join(LIMIT)
            self.assertEqual(worker.exitcode, 0)

    def test_lock_of_a_dead_holder_is_told_once(self):
        lock, held = Lock(), Event()
        worker = self.start(target=hold, args=(lock, held))
        self.assertTrue(held.wait(LIMIT))
        self.assertFalse(lock.acquire(timeout=0.01))
        worker.kill()
        with self.assertRaisesRegex(freethreading.OwnerDiedError, str(worker.pid)):
            lock.acquire(timeout=LIMIT)
        self.assertTrue(lock.acquire(timeout=LIMIT))
        lock.release()

    def test_spawner_killed_between_workers(self):
        from freethreading import _spawner

        self.start(target=nothing).join()
        helper = _spawner.ensure().pid
        os.kill(helper, signal.SIGKILL)
        self.assertTrue(eventually(lambda: _spawner.ensure().pid != helper))
        worker = self.start(target=nothing)
        worker.join(LIMIT)
        self.assertEqual(worker.exitcode, 0)

    def test_hundred_workers_leave_nothing(self):
        def run_some():
            workers = [Worker(target=nothing) for _ in range(25)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(LIMIT)
                self.assertEqual(worker.exitcode, 0)

        def left():
            fds = len(os.listdir("/proc/self/fd"))
            return fds, len(descendants(os.getpid())), _core.arena_info()["blocks"]

        run_some()
        self.assertTrue(eventually(no_spares))
        # What is known of a spare goes a moment after itself, so there may be less.
        before = left()
        for _ in range(4):
            run_some()
        gone = eventually(lambda: all(map(operator.le, left(), before)))
        self.assertTrue(gone, (left(), before))

    def test_spares_are_nobodys_children(self):
        for _ in range(6):
            self.start(target=nothing).join()
        self.assertEqual(freethreading.active_children(), [])
        self.assertEqual(multiprocessing.active_children(), [])

    def test_dead_spares_are_passed_over(self):
        for _ in range(5):
            for _ in range(4):
                self.start(target=nothing).join()
            for pid in descendants(os.getpid()):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm:
                    if comm.read() == "ft-spare\n":
                        os.kill(pid, signal.SIGKILL)
            worker = self.start(target=nothing)
            worker.join(LIMIT)
            self.assertEqual(worker.exitcode, 0)

    def test_names_of_many(self):
        event = Event()
        workers = [self.start(target=wait_for, name=f"n-{i}", args=(event,)) for i in range(12)]
        for i, worker in enumerate(workers):
            with open(f"/proc/{worker.pid}/comm") as comm:
                self.assertEqual(comm.read(), f"n-{i}\n")
        event.set()
        for worker in workers:
            worker.join(LIMIT)
            self.assertEqual(worker.exitcode, 0)


if __name__ == "__main__":
    unittest.main()
