#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of its primitives between processes, run on ours.

The tests are imported from where the interpreter has them (on Debian 12 that is
the package libpython3.11-testsuite); nothing of them is copied here.
"""

import multiprocessing
import sys
import unittest

import freethreading

try:
    from test import _test_multiprocessing as cpython
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise unittest.SkipTest(f"this Python is without its tests: {error}") from None
    print(f"this Python is without its tests ({error}): install libpython3.11-testsuite")
    sys.exit(77)

#: Where we are meant to differ: these tests, and no others, must fail.
DEVIATIONS = {
    "TestQueue.test_queue_feeder_donot_stop_onexc": (
        "there is no feeder thread: put() itself raises what pickle raises"
    ),
    "TestSimpleQueue.test_closed": "looks at private attributes, the ends of a pipe",
}

#: Tests that use the standard library's classes whatever they are given.
NOT_OURS = {
    "TestQueue.test_no_import_lock_contention",
    "TestQueue.test_queue_feeder_on_queue_feeder_error",
}


class Tally:
    """What the barrier tests count with: a list of which only the length is seen."""

    def __init__(self):
        self._count = freethreading.Semaphore(0)

    def append(self, _):
        self._count.release()

    def __len__(self):
        return self._count.get_value()


class Ours(cpython.ProcessesMixin):
    """The names that CPython's test classes get their subjects by."""

    Process = freethreading.Worker
    Lock = freethreading.Lock
    RLock = freethreading.RLock
    Semaphore = freethreading.Semaphore
    BoundedSemaphore = freethreading.BoundedSemaphore
    Condition = freethreading.Condition
    Event = freethreading.Event
    Barrier = freethreading.Barrier
    Queue = JoinableQueue = freethreading.Queue
    SimpleQueue = freethreading.SimpleQueue
    # By-standers, of the kind that may travel to a process that is not a fork.
    Value = staticmethod(multiprocessing.get_context("spawn").Value)

    def DummyList(self):  # noqa: N802 (the name that the tests use)
        return Tally()

    def check_invariant(self, cond):
        """CPython's looks at the semaphores that its Condition is made of. What
        they stand for: when nobody sleeps, a notification is not kept."""
        with cond:
            cond.notify()
            self.assertFalse(cond.wait(0))


class Module:
    """Stands in for the module multiprocessing, for tests that name it."""

    def __getattr__(self, name):
        return getattr(Ours if hasattr(Ours, name) else multiprocessing, name)


def setUpModule():  # noqa: N802
    cpython.multiprocessing = Module()


def tearDownModule():  # noqa: N802
    cpython.multiprocessing = multiprocessing


def adopt(base):
    """A test case of ours out of a class of CPython's."""
    name = base.__name__.lstrip("_")
    bases = (base,) if issubclass(base, unittest.TestCase) else (Ours, base, unittest.TestCase)
    body = {"__module__": __name__, "__qualname__": name}
    for test in unittest.defaultTestLoader.getTestCaseNames(type(name, bases, {})):
        full = f"{name}.{test}"
        if full in DEVIATIONS:
            body[test] = unittest.expectedFailure(getattr(base, test))
        if full in NOT_OURS:
            body[test] = None
    globals()[name] = type(name, bases, body)


for case in (
    cpython._TestLock,
    cpython._TestSemaphore,
    cpython._TestCondition,
    cpython._TestEvent,
    cpython._TestBarrier,
    cpython._TestQueue,
    cpython.TestSimpleQueue,
):
    adopt(case)
del case


class TestTable(unittest.TestCase):
    def test_every_name_is_one(self):
        """A test that CPython renames must not leave a line here behind."""
        for name in {*DEVIATIONS, *NOT_OURS}:
            kind, test = name.split(".")
            self.assertIn(kind, globals())
            base = globals()[kind].__mro__[1:]
            self.assertTrue(any(hasattr(cls, test) for cls in base), name)


if __name__ == "__main__":
    unittest.main()
