#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The nine primitives between threads, `_core.threads`: what all have in common,
and the exceptions and words of threading and queue."""

import contextlib
import copy
import doctest
import gc
import inspect
import os
import pickle
import queue
import subprocess
import sys
import threading
import unittest
import weakref

from freethreading import _core
from support import LIMIT, TestCase, Thread, in_fork

threads = _core.threads

#: How to make one of each kind.
MAKERS = {
    "Lock": threads.Lock,
    "RLock": threads.RLock,
    "Semaphore": threads.Semaphore,
    "BoundedSemaphore": threads.BoundedSemaphore,
    "Condition": threads.Condition,
    "Event": threads.Event,
    "Barrier": lambda: threads.Barrier(2),
    "Queue": threads.Queue,
    "SimpleQueue": threads.SimpleQueue,
}


def elsewhere(call):
    """What call() returns or raises in another thread."""
    result = []

    def run():
        try:
            result.append(call())
        except Exception as error:
            result.append(error)

    Thread(run).done()
    return result[0]


class CommonTest(TestCase):
    def test_names(self):
        for name, make in MAKERS.items():
            kind = type(make())
            self.assertIs(kind, getattr(threads, name))
            self.assertIsNot(kind, getattr(_core, name))
            self.assertEqual((kind.__module__, kind.__name__), ("freethreading", name))
            self.assertRegex(repr(make()), rf"freethreading\.{name}\b.* at 0x")

    def test_pickles_are_the_object(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                thing = make()
                for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                    data = pickle.dumps([thing, (thing,)], protocol)
                    again = pickle.loads(data)
                    self.assertIs(again[0], thing)
                    self.assertIs(again[1][0], thing)
                self.assertIs(copy.copy(thing), thing)
                self.assertIs(copy.deepcopy(thing), thing)
                self.assertIs(elsewhere(lambda: pickle.loads(data)[0]), thing)

    def test_a_pickle_keeps_nothing(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                thing = make()
                data = pickle.dumps(thing)
                ref = weakref.ref(thing)
                del thing
                self.assertIsNone(ref())
                with self.assertRaisesRegex(ValueError, f"{name} no longer exists"):
                    pickle.loads(data)

    def test_pickled_subclasses(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                kind = type("Mine", (type(make()),), {})
                thing = kind(2) if name == "Barrier" else kind()
                thing.note = "kept"
                self.assertIs(pickle.loads(pickle.dumps(thing)), thing)
                thing.me = thing
                ref = weakref.ref(thing)
                del thing
                self.assertCollected(ref)

    def assertCollected(self, ref):  # noqa: N802
        gc.collect()
        self.assertIsNone(ref())

    def test_other_processes(self):
        data = [pickle.dumps(make()) for make in MAKERS.values()]
        source = (
            "import pickle, sys\n"
            "for data in pickle.load(sys.stdin.buffer):\n"
            "    try:\n"
            "        pickle.loads(data)\n"
            "    except ValueError as error:\n"
            "        print(error)\n"
        )
        out = subprocess.run(
            [sys.executable, "-c", source],
            input=pickle.dumps(data),
            capture_output=True,
            timeout=LIMIT,
            check=True,
        ).stdout.decode()
        for name, line in zip(MAKERS, out.splitlines(), strict=True):
            self.assertIn(f"this {name} belongs to the threads of process {os.getpid()},", line)

    def test_a_fork_has_its_own(self):
        things = [make() for make in MAKERS.values()]
        data = pickle.dumps(things)

        def child():
            try:
                pickle.loads(data)
            except ValueError:
                again = pickle.loads(pickle.dumps(things))
                return 0 if all(a is b for a, b in zip(again, things)) else 2
            return 1

        self.assertEqual(in_fork(child), 0)

    def test_types_are_closed(self):
        for make in MAKERS.values():
            with self.assertRaises(TypeError):
                type(make()).extra = 1
            with self.assertRaises(AttributeError):
                make().extra = 1

    def test_annotations(self):
        self.assertEqual(threads.Queue[int].__args__, (int,))
        self.assertEqual(threads.SimpleQueue[int].__origin__, threads.SimpleQueue)

    def test_docstrings(self):
        for name, make in MAKERS.items():
            kind = type(make())
            tests = doctest.DocTestFinder().find(kind, name, globs={name: kind})
            runner = doctest.DocTestRunner(verbose=False)
            for test in tests:
                runner.run(test)
            self.assertEqual(runner.failures, 0, name)


class BoundTest(TestCase):
    """The methods of `with`, which the types bind themselves, are as any other."""

    def locks(self):
        names = ("Lock", "RLock", "Semaphore", "BoundedSemaphore")
        kinds = [getattr(home, name) for home in (threads, _core) for name in names]
        return (kind() for kind in kinds)

    def test_what_they_show(self):
        for lock in self.locks():
            enter, usual = lock.__enter__, lock.acquire
            self.assertIs(enter.__self__, lock)
            self.assertEqual(enter.__name__, "__enter__")
            self.assertEqual(enter.__doc__, type(lock).__enter__.__doc__)
            self.assertTrue(inspect.isbuiltin(enter))
            self.assertEqual(str(inspect.signature(enter)), "()")
            self.assertEqual(repr(enter), repr(usual).replace("acquire", "__enter__"))
            self.assertEqual(enter, lock.__enter__)
            self.assertEqual(hash(enter), hash(lock.__enter__))
            self.assertNotEqual(enter, lock.__exit__)
            self.assertNotEqual(enter, type(lock)().__enter__)
            self.assertTrue(inspect.ismethoddescriptor(type(lock).__enter__))

    def test_what_they_take(self):
        for lock in self.locks():
            for wrong in (
                lambda: lock.__enter__(1),
                lambda: lock.__enter__(a=1),
                lambda: lock.__exit__(a=1),
                lambda: type(lock).__enter__(1),
                lambda: type(lock).__enter__(),
                lambda: vars(type(lock))["__enter__"].__get__(1),
            ):
                self.assertRaises(TypeError, wrong)
            self.assertIs(lock.__enter__(), True)
            self.assertIsNone(lock.__exit__())
            with contextlib.ExitStack() as stack:
                self.assertIs(stack.enter_context(lock), True)
                self.assertIs(lock.acquire(False), type(lock).__name__ == "RLock")

    def test_what_they_keep(self):
        for lock in self.locks():
            ref, leave = weakref.ref(lock), [lock.__exit__, lock.__exit__]
            lock.__enter__()
            del lock
            self.assertIsNotNone(ref())
            leave.pop()
            leave.pop()(None, None, None)
            self.assertIsNone(ref())

    def test_of_subclasses(self):
        class Mine(threads.Lock):
            def __enter__(self):
                return super().__enter__() and self

        lock = Mine()
        with lock as held:
            self.assertIs(held, lock)
            self.assertFalse(lock.acquire(False))
        lock.leave = lock.__exit__
        ref = weakref.ref(lock)
        del lock, held
        gc.collect()
        self.assertIsNone(ref())

    def test_used_by_many(self):
        for lock in (threads.Lock(), threads.RLock()):
            before, count = sys.getrefcount(lock), []

            def work():
                for _ in range(3000):
                    leave = lock.__exit__
                    with lock:
                        count.append(leave)
                        count.pop()

            workers = [Thread(work) for _ in range(4)]
            for worker in workers:
                worker.done()
            del work
            self.assertEqual(sys.getrefcount(lock), before)
            self.assertEqual(count, [])


class WordsTest(TestCase):
    """Exceptions, by type and text, are those of threading and queue."""

    def test_lock(self):
        lock = threads.Lock()
        with self.assertRaisesRegex(RuntimeError, "release unlocked lock"):
            lock.release()
        with self.assertRaisesRegex(ValueError, "can't specify a timeout for a non-blocking"):
            lock.acquire(False, 1)
        self.assertTrue(lock.acquire(False, -1))
        self.assertFalse(lock.acquire(False))
        self.assertFalse(lock.acquire(timeout=-0.5))
        self.assertFalse(lock.acquire(timeout=0.001))
        self.assertTrue(lock.locked())
        self.assertIsNone(elsewhere(lock.release))
        self.assertFalse(lock.locked())
        for timeout in (-1, -0.5, 0, None, 1e10, float("inf")):
            self.assertIs(lock.acquire(True, timeout), True)
            lock.release()
        for blocking in (True, False):
            with self.assertRaises(TypeError):
                lock.acquire(blocking, "1")
        with self.assertRaises(ValueError):
            lock.acquire(timeout=float("nan"))

    def test_minus_one_is_for_ever(self):
        for make in (threads.Lock, threads.RLock, threads.Condition):
            for forever in (-1, -1.0, None):
                lock = make()
                lock.acquire()
                taken = threading.Event()
                waiter = Thread(lambda: (lock.acquire(True, forever), taken.set(), lock.release()))
                self.assertFalse(taken.wait(0.01))
                lock.release()
                waiter.done()

    def test_rlock(self):
        lock = threads.RLock()
        with self.assertRaisesRegex(RuntimeError, "cannot release un-acquired lock"):
            lock.release()
        with lock, lock:
            self.assertIn("<locked freethreading.RLock object count=2 ", repr(lock))
            self.assertIs(elsewhere(lock.locked), True)
            self.assertFalse(elsewhere(lambda: lock.acquire(False)))
            error = elsewhere(lock.release)
            self.assertEqual(repr(error), "RuntimeError('cannot release un-acquired lock')")
        self.assertIs(lock.locked(), False)

    def test_what_threading_asks_of_a_lock(self):
        lock = threads.RLock()
        self.assertEqual((lock._is_owned(), lock._recursion_count()), (False, 0))
        with self.assertRaises(RuntimeError):
            lock._release_save()
        with lock, lock, lock:
            self.assertEqual((lock._is_owned(), lock._recursion_count()), (True, 3))
            self.assertEqual(elsewhere(lock._recursion_count), 0)
            state = lock._release_save()
            self.assertTrue(elsewhere(lambda: lock.acquire(False) and lock.release() is None))
            lock._acquire_restore(state)
            self.assertEqual(lock._recursion_count(), 3)
        with self.assertRaises(TypeError):
            lock._acquire_restore("3")
        for again in (threads.Lock(), lock):
            again.acquire()
            self.assertIsNone(again._at_fork_reinit())
            self.assertTrue(elsewhere(lambda: again.acquire(False)))

    def test_a_condition_of_threading(self):
        for lock in (threads.Lock(), threads.RLock()):
            condition = threading.Condition(lock)

            def notify():
                with condition:
                    condition.notify()

            with condition:
                thread = Thread(notify)
                self.assertTrue(condition.wait(LIMIT))
                thread.done()

    def test_another_maxsize(self):
        q = threads.Queue(2)
        q.put(1)
        q.put(2)
        q.maxsize = 1
        self.assertTrue(q.full())
        with self.assertRaises(queue.Full):
            q.put_nowait(3)
        putters = [Thread(q.put, i) for i in range(3)]
        q.maxsize = 0
        for putter in putters:
            putter.done()
        self.assertEqual((q.maxsize, q.full(), q.qsize()), (0, False, 5))
        q.maxsize = 5
        self.assertTrue(q.full())
        for wrong in ("5", None, 1.5):
            with self.assertRaises(TypeError):
                q.maxsize = wrong
        with self.assertRaises(AttributeError):
            del q.maxsize

    def test_semaphores(self):
        for make in (threads.Semaphore, threads.BoundedSemaphore):
            units = make(2)
            self.assertTrue(units.acquire())
            self.assertTrue(units.acquire(timeout=-1))
            self.assertFalse(units.acquire(timeout=-1))
            with self.assertRaisesRegex(ValueError, "specify timeout for non-blocking"):
                units.acquire(False, 1)
            units.release(2)
            self.assertEqual(units.get_value(), 2)
            with self.assertRaisesRegex(ValueError, "must be one or more"):
                units.release(0)
            with self.assertRaisesRegex(ValueError, "initial value must be >= 0"):
                make(-1)
        with self.assertRaisesRegex(ValueError, "Semaphore released too many times"):
            units.release()
        self.assertIsInstance(units, threads.Semaphore)

    def test_condition(self):
        for make in (threads.Lock, threads.RLock, lambda: None):
            changed = threads.Condition(make())
            with self.assertRaisesRegex(RuntimeError, "cannot wait on un-acquired lock"):
                changed.wait()
            for call in (changed.notify, changed.notify_all):
                with self.assertRaisesRegex(RuntimeError, "cannot notify on un-acquired lock"):
                    call()
            with changed:
                self.assertFalse(changed.wait(-1))
                changed.notify()
        for lock in (_core.Lock(), _core.RLock(), threading.Lock(), 1):
            with self.assertRaisesRegex(TypeError, "lock must be a freethreading Lock or RLock"):
                threads.Condition(lock)

    def test_a_foreign_lock_may_notify(self):
        """threading cannot tell whose a Lock is, and lets everybody notify."""
        lock = threads.Lock()
        changed = threads.Condition(lock)
        lock.acquire()
        self.assertIsNone(elsewhere(changed.notify))
        lock.release()

    def test_barrier(self):
        for parties in (0, -1):
            with self.assertRaisesRegex(ValueError, "parties must be >= 1"):
                threads.Barrier(parties)
        with self.assertRaises(threading.BrokenBarrierError):
            threads.Barrier(2).wait(0)

    def test_queue(self):
        q = threads.Queue(1)
        self.assertEqual((q.maxsize, q.qsize(), q.empty(), q.full()), (1, 0, True, False))
        for call in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0.001)):
            with self.assertRaises(queue.Empty):
                call()
        q.put(item=None)
        self.assertEqual((q.qsize(), q.empty(), q.full()), (1, False, True))
        for call in (lambda: q.put_nowait(1), lambda: q.put(1, False), lambda: q.put(1, True, 0)):
            with self.assertRaises(queue.Full):
                call()
        for call in (lambda: q.put(1, timeout=-1), lambda: q.get(timeout=-0.5)):
            with self.assertRaisesRegex(ValueError, "'timeout' must be a non-negative number"):
                call()
        self.assertIsNone(q.get(False, -1))
        threads.Queue().put(1, True, -1)
        q.task_done()
        q.join()
        with self.assertRaisesRegex(ValueError, r"task_done\(\) called too many times"):
            q.task_done()

    def test_no_limit(self):
        for maxsize in (0, -1):
            q = threads.Queue(maxsize)
            self.assertEqual(q.maxsize, maxsize)
            for i in range(1000):
                q.put_nowait(i)
            self.assertFalse(q.full())
            self.assertEqual([q.get() for _ in range(1000)], list(range(1000)))

    def test_items_are_the_objects(self):
        for q in (threads.Queue(), threads.SimpleQueue()):
            thing = object()
            q.put(thing)
            self.assertIs(q.get(), thing)
            self.assertTrue(q.empty())


if __name__ == "__main__":
    unittest.main()
