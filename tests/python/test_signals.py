#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Signals that end no sleep: what Python's handler for them does still happens.

A signal that comes after a wait's last look for one, and before its sleep, wakes
nobody.  The same, without luck: it comes to another thread, while the main thread,
which runs Python's handlers, sleeps."""

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
    The first thing that runs in the main thread is the handler."""

    def __init__(self, handler):
        self._handler = handler
        self._over = threading.Event()
        self.count = 0

    def _send(self):
        while not self._over.is_set():
            if eventually(lambda: self._over.is_set() or asleep()) and not self._over.is_set():
                count = self.count
                signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
                eventually(lambda: self._over.is_set() or self.count > count)

    def _call(self, signo, frame):
        self.count += 1
        self._handler()

    def __enter__(self):
        self._before = signal.signal(signal.SIGUSR1, self._call)
        self._thread = Thread(self._send)
        return self

    def __exit__(self, *args):
        self._over.set()
        self._thread.done()
        signal.signal(signal.SIGUSR1, self._before)


def raiser():
    raise Raised


def wait_for(gate):
    gate.wait(LIMIT)


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


if __name__ == "__main__":
    unittest.main()
