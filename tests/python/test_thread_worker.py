#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Worker as a thread: a threading.Thread in every respect."""

import contextvars
import ctypes
import gc
import logging
import os
import sys
import threading
import unittest
import weakref

from freethreading import _core, _thread_backend
from freethreading._thread import Worker
from support import LIMIT, Program, TestCase, Thread, eventually

VARIABLE = contextvars.ContextVar("variable", default="default")

#: What the targets below leave here for their tests.
seen = []


def note(*args, **kwargs):
    seen.append((args, kwargs))


def look():
    me = threading.current_thread()
    seen.append((me, me.ident, me.native_id, threading.get_ident(), threading.get_native_id()))


def nothing():
    pass


def fail():
    raise ValueError("on purpose")


def leave():
    sys.exit(3)


def join_myself():
    try:
        threading.current_thread().join()
    except RuntimeError as error:
        seen.append(error)


def wait_for(event):
    event.wait(LIMIT)


def log():
    logging.getLogger("test").warning("hello")


def value():
    seen.append(VARIABLE.get())


class Canary:
    pass


local = threading.local()


def keep_a_local():
    local.canary = Canary()
    seen.append(weakref.ref(local.canary))


def enumerations():
    seen.append(
        (
            _thread_backend.current_worker(),
            _thread_backend.enumerate(),
            _thread_backend.active_children(),
            _thread_backend.active_count(),
            _thread_backend.get_ident(),
        )
    )


def tracer(frame, event, arg):
    if frame.f_code is nothing.__code__:
        seen.append(event)


class Runs(Worker):
    def __init__(self, word):
        super().__init__(name="Runs")
        self.word = word

    def run(self):
        seen.append((self.word, threading.current_thread() is self))


class Contextual(Worker):
    """Before 3.14 Thread has no such attribute."""

    def __init__(self):
        super().__init__()
        self._context = None

    def run(self):
        seen.append("ran")


class ThreadTest(TestCase):
    def setUp(self):
        seen.clear()

    def run_one(self, *args, **kwargs):
        worker = Worker(*args, **kwargs)
        worker.start()
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())
        return worker

    def waiting(self, **kwargs):
        """A worker that waits, and the event that it waits for."""
        event = threading.Event()
        worker = Worker(target=wait_for, args=(Waits(event),), **kwargs)
        worker.start()
        self.addCleanup(worker.join, LIMIT)
        self.addCleanup(event.set)
        return worker, event


class Waits:
    """An event that can be a worker's argument: it counts as picklable."""

    def __init__(self, event):
        self.wait = event.wait

    def __reduce__(self):
        return Waits, (threading.Event,)


class WorkerTest(ThreadTest):
    def test_is_a_thread(self):
        worker = Worker(target=look, name="W")
        self.assertIsInstance(worker, threading.Thread)
        self.assertEqual((worker.ident, worker.native_id), (None, None))
        self.assertFalse(worker.is_alive())
        self.assertIn("initial", repr(worker))
        worker.start()
        ident, native_id = worker.ident, worker.native_id
        worker.join()
        self.assertIn("stopped", repr(worker))
        [(me, *numbers)] = seen
        self.assertIs(me, worker)
        self.assertEqual(numbers, [ident, native_id, ident, native_id])
        self.assertEqual((worker.ident, worker.native_id), (ident, native_id))

    def test_gets_the_objects_themselves(self):
        item = [1, 2]
        self.run_one(None, note, None, (item,), {"a": item})
        [((first,), kwargs)] = seen
        self.assertIs(first, item)
        self.assertIs(kwargs["a"], item)

    def test_names(self):
        self.assertRegex(Worker(target=nothing).name, r"^Thread-\d+ \(nothing\)$|^Thread-\d+$")
        self.assertEqual(Worker(name="me").name, "me")
        self.assertEqual(Worker(name=7).name, "7")

    def test_kernel_sees_the_name(self):
        worker, event = self.waiting(name="a-quite-long-name")
        path = f"/proc/self/task/{worker.native_id}/comm"

        def comm():
            with open(path) as file:
                return file.read().rstrip()

        self.assertTrue(eventually(lambda: comm() == "a-quite-long-na"), comm())

    def test_alive_and_joined_with_a_deadline(self):
        worker, event = self.waiting()
        self.assertTrue(worker.is_alive())
        for timeout in (0, 0.01, -1):
            worker.join(timeout)
            self.assertTrue(worker.is_alive())
        event.set()
        worker.join(LIMIT)
        worker.join()
        worker.join(timeout=0)
        self.assertFalse(worker.is_alive())

    def test_misuse(self):
        worker = Worker(target=nothing)
        with self.assertRaisesRegex(RuntimeError, "cannot join thread before it is started"):
            worker.join()
        worker.start()
        with self.assertRaisesRegex(RuntimeError, "threads can only be started once"):
            worker.start()
        with self.assertRaisesRegex(RuntimeError, "cannot set daemon status"):
            worker.daemon = True
        worker.join()
        with self.assertRaises(RuntimeError):
            worker.start()
        with self.assertRaises(AssertionError):
            Worker(1)
        with self.assertRaises(TypeError):
            worker.join("soon")

    def test_cannot_join_itself(self):
        self.run_one(target=join_myself)
        self.assertIsInstance(seen[0], RuntimeError)
        self.assertIn("cannot join current thread", str(seen[0]))

    def test_init_forgotten(self):
        class Forgets(Worker):
            def __init__(self):
                pass

        with self.assertRaisesRegex(RuntimeError, "__init__.. not called"):
            Forgets().start()

    def test_a_context_of_its_own(self):
        worker = Contextual()
        worker.start()
        worker.join()
        self.assertEqual(seen, ["ran"])

    def test_what_cant_be_pickled_is_refused(self):
        for name, kwargs in [
            ("target", {"target": lambda: None}),
            ("args", {"target": note, "args": (lambda: None,)}),
            ("args", {"target": note, "args": (threading.Lock(),)}),
            ("kwargs", {"target": note, "kwargs": {"x": [lambda: None]}}),
        ]:
            with self.subTest(name):
                with self.assertRaisesRegex(ValueError, f"^{name} can't be pickled"):
                    Worker(**kwargs)

    def test_primitives_are_fine(self):
        made = [
            kind() for kind in (_core.threads.Lock, _core.threads.Queue, _core.threads.Event)
        ]
        self.run_one(target=note, args=(*made, made), kwargs={"a": {"b": made}})
        self.assertIs(seen[0][0][0], made[0])

    def test_subclass(self):
        worker = Runs("word")
        worker.start()
        worker.join()
        self.assertEqual(seen, [("word", True)])
        self.run_one()  # no target: nothing happens

    def test_started_by_two_at_once(self):
        for _ in range(20):
            worker = Worker(target=note)
            barrier, refused = threading.Barrier(2), []

            def start(worker=worker, barrier=barrier, refused=refused):
                barrier.wait()
                try:
                    worker.start()
                except RuntimeError:
                    refused.append(1)

            for thread in [Thread(start), Thread(start)]:
                thread.done()
            worker.join()
            self.assertEqual(len(refused), 1)
        self.assertEqual(len(seen), 20)

    def test_refused_by_the_system(self):
        worker = Worker(target=note)
        before = threading.stack_size(1 << 47)  # more than there are addresses
        try:
            with self.assertRaisesRegex(RuntimeError, "can't start new thread"):
                worker.start()
        finally:
            threading.stack_size(before)
        self.assertNotIn(worker, threading.enumerate())
        self.assertFalse(worker.is_alive())
        worker.start()
        worker.join()
        self.assertEqual(len(seen), 1)

    def test_stack_size(self):
        before = threading.stack_size(1 << 20)
        try:
            self.run_one(target=note)
        finally:
            threading.stack_size(before)
        self.assertEqual(len(seen), 1)

    def test_enumerations(self):
        daemon, _ = self.waiting(daemon=True)
        self.assertTrue(daemon.daemon)
        self.assertEqual(_thread_backend.enumerate()[0], threading.main_thread())
        self.assertEqual(_thread_backend.active_children(), [daemon])
        self.assertEqual(_thread_backend.active_count(), 2)
        self.assertEqual(_thread_backend.get_ident(), threading.get_ident())
        self.assertIs(_thread_backend.current_worker(), threading.main_thread())
        worker = self.run_one(target=enumerations)
        me, everybody, others, count, ident = seen[0]
        self.assertIs(me, worker)
        self.assertEqual(everybody, [threading.main_thread(), daemon, worker])
        self.assertEqual(others, [threading.main_thread(), daemon])
        self.assertEqual((count, ident), (3, worker.ident))

    def test_uncaught_exceptions(self):
        hooked = []
        before, threading.excepthook = threading.excepthook, hooked.append
        try:
            worker = self.run_one(target=fail)
            self.run_one(target=leave)
        finally:
            threading.excepthook = before
        self.assertEqual([call.exc_type for call in hooked], [ValueError, SystemExit])
        self.assertIs(hooked[0].thread, worker)

    def test_trace_and_profile(self):
        for install in (threading.settrace, threading.setprofile):
            seen.clear()
            install(tracer)
            try:
                self.run_one(target=nothing)
            finally:
                install(None)
            self.assertIn("call", seen)
            seen.clear()
            self.run_one(target=nothing)  # in a thread that had a tracer, perhaps
            self.assertEqual(seen, [])

    def test_locals_end_with_the_worker(self):
        for _ in range(20):
            self.run_one(target=keep_a_local)
        gc.collect()
        self.assertEqual([ref() for ref in seen], [None] * 20)

    def test_context_is_a_threads(self):
        VARIABLE.set("changed")
        thread = threading.Thread(target=value)
        thread.start()
        thread.join()
        self.run_one(target=value)
        self.assertEqual(seen[0], seen[1])

    def test_context_may_be_given_where_threads_take_one(self):
        context = contextvars.Context()
        context.run(VARIABLE.set, "given")
        if sys.version_info < (3, 14):
            self.assertRaises(TypeError, Worker, target=value, context=context)
        else:
            self.run_one(target=value, context=context)
            self.assertEqual(seen, ["given"])

    def test_logging_knows_the_name(self):
        with self.assertLogs("test") as logs:
            self.run_one(target=log, name="Logger")
        self.assertEqual(logs.records[0].threadName, "Logger")

    def test_nothing_holds_it_afterwards(self):
        item = Canary()
        ref = weakref.ref(item)
        worker = self.run_one(target=note, args=(item,))
        ended = weakref.ref(worker)
        seen.clear()
        del item, worker
        gc.collect()
        self.assertEqual((ref(), ended()), (None, None))

    def test_many(self):
        for _ in range(10):
            workers = [Worker(target=note, args=(i,)) for i in range(32)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(LIMIT)
        self.assertEqual(sorted(args[0] for args, _ in seen), sorted([*range(32)] * 10))
        self.assertEqual(threading.enumerate(), [threading.main_thread()])
        self.assertTrue(eventually(lambda: len(os.listdir("/proc/self/task")) == 1))

    def test_dropped_while_they_run(self):
        for _ in range(50):
            Worker(target=note).start()
        self.assertTrue(eventually(lambda: threading.active_count() == 1))
        self.assertEqual(len(seen), 50)


def hang_up_hooks():
    sys.set_asyncgen_hooks(note, note)
    sys.set_coroutine_origin_tracking_depth(3)


def set_tracers():
    sys.settrace(tracer)
    sys.setprofile(tracer)


def set_variable():
    VARIABLE.set("the one before")


def set_locals():
    local.canary = Canary()
    repr([[1]])  # keeps a list in the thread's own dictionary


def break_off():
    try:
        raise ValueError
    except ValueError:
        sys.exit()


def look_around():
    depth = sys.get_coroutine_origin_tracking_depth()
    hooks = tuple(sys.get_asyncgen_hooks())
    tracers = sys.gettrace(), sys.getprofile()
    seen.append((hooks, depth, tracers, VARIABLE.get(), vars(local), sys.exc_info()))


def make_something():
    seen.append(Canary())


class SuccessorTest(ThreadTest):
    """Workers that run in the OS thread of one that has ended, which may have
    kept its thread state for them."""

    def run_in_one_thread(self, *targets):
        """Runs a worker for each, all in the same OS thread."""

        def try_it():
            workers = [self.run_one(target=target) for target in targets]
            return len({worker.native_id for worker in workers}) == 1

        self.assertTrue(eventually(try_it))

    def test_finds_nothing_of_the_one_before(self):
        nothing_there = [((None, None), 0, (None, None), "default", {}, (None, None, None))]
        for change in (nothing, hang_up_hooks, set_tracers, set_variable, set_locals, break_off):
            with self.subTest(change.__name__):
                seen.clear()
                self.run_in_one_thread(change, look_around)
                self.assertEqual([*map(tuple, seen)], nothing_there * len(seen))

    def test_an_exception_meant_for_the_one_before(self):
        raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        for _ in range(20):
            worker = self.run_one(target=nothing)
            raise_in(ctypes.c_ulong(worker.ident), ctypes.py_object(KeyboardInterrupt))
            self.run_one(target=note)
        self.assertEqual(len(seen), 20)

    def test_what_the_ended_made_dies_with_its_last_reference(self):
        for _ in range(50):
            self.run_one(target=make_something)
            ref = weakref.ref(seen[0])
            seen.clear()
            self.assertIsNone(ref())

    def test_no_state_is_left_when_the_program_forks(self):
        # Hooks run from the last to the first: this one after the package's.
        status, out, err = Program(
            """
            import os, sys, warnings
            warnings.simplefilter("ignore", DeprecationWarning)  # fork() with threads
            counts = []
            os.register_at_fork(before=lambda: counts.append(len(sys._current_exceptions())))
            from freethreading._thread import Worker
            for _ in range(20):
                worker = Worker(target=print)
                worker.start()
                worker.join()
                pid = os.fork()
                if pid == 0:
                    os._exit(len(sys._current_exceptions()))
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
            worker = Worker(target=print)
            worker.start()
            worker.join()
            print(min(counts))
            """
        ).finish()
        self.assertEqual((status, out.split(), err), (0, ["1"], ""))


class HandleTest(ThreadTest):
    def test_a_handle(self):
        handle = _core.ThreadHandle()
        self.assertEqual((handle.ident, handle.native_id, handle.is_done()), (0, 0, False))
        with self.assertRaisesRegex(RuntimeError, "not started"):
            handle.join()
        handle.start(note, "name", False)
        handle.join()
        self.assertTrue(handle.is_done())
        self.assertGreater(handle.ident, 0)
        self.assertGreater(handle.native_id, 0)
        self.assertEqual(len(seen), 1)

    def test_on_some_cpus(self):
        cpu = min(os.sched_getaffinity(0))
        handle = _core.ThreadHandle()
        handle.start(lambda: seen.append(os.sched_getaffinity(0)), "", True, cpus=[cpu])
        handle.join()
        self.assertEqual(seen, [{cpu}])

    def test_misuse(self):
        handle = _core.ThreadHandle()
        for args in [(), (note,), (note, 1, False), (note, "name", False, 7)]:
            with self.assertRaises(TypeError):
                handle.start(*args)

    def test_an_exception_is_shown(self):
        shown = []
        before, sys.unraisablehook = sys.unraisablehook, shown.append
        try:
            for function in (fail, leave):
                handle = _core.ThreadHandle()
                handle.start(function, "", False)
                handle.join()
        finally:
            sys.unraisablehook = before
        [call] = shown
        self.assertIs(call.exc_type, ValueError)
        self.assertIs(call.object, fail)


if __name__ == "__main__":
    unittest.main()
