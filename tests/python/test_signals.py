#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Signals that end no sleep: what Python's handler for them does still happens.

A signal that comes after a wait's last look for one, and before its sleep, wakes
nobody.  The same, without luck: it comes to another thread, while the main thread,
which runs Python's handlers, sleeps."""

import concurrent.futures
import itertools
import os
import signal
import sys
import threading
import unittest

import freethreading
from support import LIMIT, Raised, Thread, WorkerTestCase, eventually


#: Whether joins are ours: before 3.13 threading joins its threads by itself.
JOINS = freethreading.get_backend() == "multiprocessing" or sys.version_info >= (3, 13)


def asleep():
    """Whether the main thread is."""
    with open(f"/proc/self/task/{os.getpid()}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


class Elsewhere:
    """Another thread gets signals while the main thread sleeps, until the block ends.
    The first thing that runs in the main thread is the handler.  It does nothing on
    the way into the block and out of it, where the main thread may sleep, too."""

    def __init__(self, handler):
        self._handler = handler
        self._over = threading.Event()
        self._within = False
        self.count = 0

    def _send(self):
        while not self._over.is_set():
            if eventually(lambda: self._over.is_set() or asleep()) and not self._over.is_set():
                count = self.count
                signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
                eventually(lambda: self._over.is_set() or self.count > count)

    def _call(self, signo, frame):
        self.count += 1
        if not self._within:
            return
        try:
            self._handler()
        except BaseException:
            self._within = False  # what it raises ends the block
            raise

    def __enter__(self):
        self._before = signal.signal(signal.SIGUSR1, self._call)
        self._thread = Thread(self._send)
        self._within = True
        return self

    def __exit__(self, *args):
        self._within = False
        self._over.set()
        try:
            self._thread.done()
        finally:
            signal.signal(signal.SIGUSR1, self._before)


def raiser():
    raise Raised


def wait_for(gate):
    gate.wait(LIMIT)
    return True


class SignalTest(WorkerTestCase):
    def setUp(self):
        self.gate = freethreading.Event()
        self.addCleanup(self.gate.set)

    def assertEnds(self, wait, *args):
        with self.assertRaises(Raised), Elsewhere(raiser):
            wait(*args)

    def test_primitives(self):
        lock, units, event = freethreading.Lock(), freethreading.Semaphore(0), freethreading.Event()
        barrier, condition = freethreading.Barrier(2), freethreading.Condition()
        lock.acquire()
        for wait in (lock.acquire, units.acquire, event.wait, barrier.wait):
            with self.subTest(wait):
                self.assertEnds(wait)
                self.assertEnds(wait, *([True, LIMIT] if wait == lock.acquire else []))
        with condition:
            self.assertEnds(condition.wait)
            self.assertEnds(condition.wait, LIMIT)
            self.assertEnds(condition.wait_for, lambda: False)
        self.assertFalse(barrier.broken)
        self.assertEqual(barrier.n_waiting, 0)

    def test_rlock(self):
        lock, held, let_go = freethreading.RLock(), threading.Event(), threading.Event()

        def hold():
            with lock:
                held.set()
                let_go.wait(LIMIT)

        thread = Thread(hold)
        self.assertTrue(held.wait(LIMIT))
        self.assertEnds(lock.acquire)
        let_go.set()
        thread.done()

    def test_queues(self):
        empty, full = freethreading.Queue(), freethreading.Queue(1)
        full.put(None)
        self.assertEnds(empty.get)
        self.assertEnds(full.put, None)
        self.assertEnds(full.join)
        self.assertEnds(freethreading.SimpleQueue().get)

    def test_joins(self):
        worker = self.start(wait_for, self.gate)
        if JOINS:
            self.assertEnds(worker.join)
            self.assertEnds(worker.join, LIMIT)
        self.gate.set()
        worker.join()

    def test_pools(self):
        pool = freethreading.WorkerPool(1)
        self.addCleanup(pool.join)
        self.addCleanup(pool.terminate)
        self.addCleanup(self.gate.set)
        result = pool.apply_async(wait_for, (self.gate,))
        self.assertEnds(result.get)
        self.assertEnds(result.wait)
        self.assertEnds(pool.apply, wait_for, (self.gate,))
        self.assertEnds(pool.map, wait_for, [self.gate])
        self.assertEnds(next, pool.imap(wait_for, [self.gate]))
        self.assertEnds(next, pool.imap_unordered(wait_for, [self.gate]))
        pool.close()
        if JOINS:
            self.assertEnds(pool.join)

    def test_executors(self):
        with freethreading.WorkerPoolExecutor(1) as executor:
            self.addCleanup(self.gate.set)
            future = executor.submit(wait_for, self.gate)
            try:
                self.assertEnds(future.result)
                self.assertEnds(future.exception, LIMIT)
                if JOINS:
                    self.assertEnds(executor.shutdown)
            finally:
                self.gate.set()

    def test_a_handler_that_does_not_raise(self):
        """The wait goes on, and knows what came meanwhile."""
        event = freethreading.Event()

        def handler():
            event.set()
            event.clear()

        with Elsewhere(handler):
            self.assertTrue(event.wait(LIMIT))
        queue = freethreading.Queue()
        with Elsewhere(lambda: queue.put(1)):
            self.assertEqual(queue.get(timeout=LIMIT), 1)
        with freethreading.WorkerPool(1) as pool, Elsewhere(self.gate.set):
            pool.apply(wait_for, (self.gate,))

    def test_keyboard_interrupt(self):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with self.assertRaises(KeyboardInterrupt):
            with Elsewhere(lambda: signal.raise_signal(signal.SIGINT)):
                freethreading.Event().wait()


def passing(lock):
    """A wait for a lock that others want, too."""

    def wait():
        with lock:
            return True

    return wait


def waiting(condition):
    """A wait at a condition; what says that the thread is about to comes first."""

    def wait():
        with condition:
            return condition.wait(LIMIT)

    return wait


class NestedTest(WorkerTestCase):
    """A handler of a signal that interrupts a wait waits, too, and is interrupted in
    its turn: each of the waits gets what is its own."""

    #: How many wait in each other.
    DEPTH = 4

    def enter(self, *unused):
        self.inside += 1
        self.got.append(self.waits[self.inside - 1]())

    def drive(self, before, after):
        """Another thread: interrupts the main thread wherever it has gone to sleep, and
        in the end lets it go."""
        before()
        self.ready.set()
        for depth in range(1, self.DEPTH + 1):
            self.assertTrue(eventually(lambda: self.inside == depth and asleep()))
            if depth < self.DEPTH:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        after()

    def nest(self, wait, after, inner=None, before=lambda: None):
        self.inside, self.got, self.ready = 0, [], threading.Event()
        self.waits = [wait] + [inner or wait] * (self.DEPTH - 1)
        thread = Thread(self.drive, before, after)
        self.assertTrue(self.ready.wait(LIMIT))
        self.enter()
        thread.done()
        return self.got

    def setUp(self):
        before = signal.signal(signal.SIGUSR1, self.enter)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

    def assertAll(self, got):
        self.assertEqual(got, [True] * self.DEPTH)

    def test_locks(self):
        for kind in (freethreading.Lock, freethreading.RLock):
            with self.subTest(kind):
                lock = kind()
                self.assertAll(self.nest(passing(lock), lock.release, before=lock.acquire))

    def test_semaphore(self):
        units = freethreading.Semaphore(0)

        def release():
            for _ in range(self.DEPTH):
                units.release()

        self.assertAll(self.nest(units.acquire, release))
        self.assertFalse(units.acquire(False))

    def test_event(self):
        event, other = freethreading.Event(), freethreading.Event()
        self.assertAll(self.nest(event.wait, event.set))
        event.clear()

        def both():
            other.set()
            event.set()

        self.assertAll(self.nest(event.wait, both, inner=other.wait))

    def test_barrier(self):
        barrier = freethreading.Barrier(self.DEPTH + 1)
        places = []
        got = self.nest(barrier.wait, lambda: places.append(barrier.wait()))
        self.assertEqual(sorted(got + places), list(range(self.DEPTH + 1)))
        self.assertEqual(barrier.n_waiting, 0)
        # The last of them opens it for those that it has interrupted.
        got = self.nest(freethreading.Barrier(self.DEPTH).wait, lambda: None)
        self.assertEqual(sorted(got), list(range(self.DEPTH)))

    def test_condition(self):
        for lock in (freethreading.RLock(), freethreading.Lock()):
            with self.subTest(lock):
                condition = freethreading.Condition(lock)

                def notify():
                    with condition:
                        condition.notify(self.DEPTH - 1)
                        condition.notify()

                self.assertAll(self.nest(waiting(condition), notify))
                with condition:
                    self.assertFalse(condition.wait(0))

    def test_condition_in_another(self):
        """The inner waits end, and only then the outer one is notified."""
        condition, other = freethreading.Condition(), freethreading.Condition()

        def notify():
            with other:
                other.notify_all()
            self.assertTrue(eventually(lambda: len(self.got) == self.DEPTH - 1))
            with condition:
                condition.notify()

        self.assertAll(self.nest(waiting(condition), notify, inner=waiting(other)))

    def test_condition_keeps_a_notification(self):
        """The outer one was notified in the middle of the inner, which goes on."""
        condition, other = freethreading.Condition(), freethreading.Condition()

        def notify():
            with condition:
                condition.notify()
            with other:
                other.notify_all()

        self.assertAll(self.nest(waiting(condition), notify, inner=waiting(other)))

    def test_condition_order(self):
        """Who waits longest comes first: that is the outermost."""
        condition = freethreading.Condition()

        def short():
            with condition:
                return condition.wait(0.01)

        def notify():
            self.assertTrue(eventually(lambda: len(self.got) == self.DEPTH - 1))
            with condition:
                condition.notify()

        got = self.nest(waiting(condition), notify, inner=short)
        self.assertEqual(got, [False] * (self.DEPTH - 1) + [True])

    def test_queues(self):
        for queue in (freethreading.Queue(), freethreading.SimpleQueue()):
            with self.subTest(queue):
                items = list(range(self.DEPTH))
                got = self.nest(queue.get, lambda: [queue.put(item) for item in items])
                self.assertEqual(sorted(got), items)
                self.assertTrue(queue.empty())
        full, got = freethreading.Queue(1), []
        full.put(0)
        self.nest(
            lambda: full.put(self.inside),
            lambda: got.extend(full.get(timeout=LIMIT) for _ in range(self.DEPTH)),
        )
        self.assertEqual(got[0], 0)
        self.assertEqual(sorted(got[1:] + [full.get()]), list(range(1, self.DEPTH + 1)))

    def test_pools(self):
        gate, several = freethreading.Event(), [True] * 3
        with freethreading.WorkerPool(1) as pool:
            for result in (
                pool.apply_async(wait_for, (gate,)),
                pool.map_async(wait_for, [gate] * 3, chunksize=1),
                pool.map_async(wait_for, [gate] * 200, chunksize=1),
            ):
                got = self.nest(result.get, gate.set)
                self.assertEqual(got, [result.get()] * self.DEPTH)
                gate.clear()
            self.assertAll(self.nest(lambda: pool.apply(wait_for, (gate,)), gate.set))
            gate.clear()
            got = self.nest(lambda: pool.map(wait_for, [gate] * 3), gate.set)
            self.assertEqual(got, [several] * self.DEPTH)

    def test_iterators_of_pools(self):
        gate = freethreading.Event()
        with freethreading.WorkerPool(1) as pool:
            for method, chunk in itertools.product((pool.imap, pool.imap_unordered), (1, 3)):
                # One for each of the waits; then the last ones find nothing any more.
                for count in (self.DEPTH, self.DEPTH - 1, 1):
                    with self.subTest(method, chunk=chunk, count=count):
                        results = method(wait_for, [gate] * count, chunk)
                        got = self.nest(lambda: next(results, None), gate.set)
                        self.assertEqual(got.count(True), count)
                        self.assertEqual(got.count(None), self.DEPTH - count)
                        gate.clear()

    def test_executors(self):
        gate = freethreading.Event()
        with freethreading.WorkerPoolExecutor(1) as executor:
            future = executor.submit(wait_for, gate)
            self.assertAll(self.nest(future.result, gate.set))
            gate.clear()
            future = executor.submit(wait_for, gate)
            wait = lambda: concurrent.futures.wait([future], LIMIT).done == {future}
            self.assertAll(self.nest(wait, gate.set))

    def test_joins(self):
        gate = freethreading.Event()
        worker = self.start(wait_for, gate)
        self.nest(worker.join, gate.set)
        self.assertFalse(worker.is_alive())


if __name__ == "__main__":
    unittest.main()
