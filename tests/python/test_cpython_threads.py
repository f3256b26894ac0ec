#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of its primitives between threads, run on ours."""

import multiprocessing
import unittest

import freethreading
import yardstick

cpython = yardstick.cpython("lock_tests")


def typed(kind, *methods):
    """A type for a test case.  With processes it raises what multiprocessing's
    would; the tests want RuntimeError, as threading has it."""
    if yardstick.BACKEND == "threads":
        return staticmethod(kind)

    def translate(method):
        def call(self, *args, **kwargs):
            try:
                return method(self, *args, **kwargs)
            except (AssertionError, ValueError) as error:
                raise RuntimeError(*error.args) from error

        return call

    body = {name: translate(getattr(kind, name)) for name in methods}
    return staticmethod(type(kind.__name__, (kind,), body))


def counted(kind):
    """The same for a semaphore, of which multiprocessing's releases one at a time."""
    if yardstick.BACKEND == "threads":
        return staticmethod(kind)

    def release(self, n=1):
        if n < 1:
            raise ValueError("n must be one or more")
        for _ in range(n):
            kind.release(self)

    return staticmethod(type(kind.__name__, (kind,), {"release": release}))


def standard(attribute, name):
    """The same with multiprocessing's class."""
    return {attribute: staticmethod(getattr(multiprocessing.get_context("spawn"), name))}


suite = yardstick.Suite(globals(), "test_cpython_threads")
lock = typed(freethreading.Lock, "release")
suite.adopt(cpython.LockTests, locktype=lock, standard=standard("locktype", "Lock"))
suite.adopt(
    cpython.RLockTests,
    locktype=typed(freethreading.RLock, "release"),
    standard=standard("locktype", "RLock"),
)
suite.adopt(
    cpython.EventTests,
    eventtype=typed(freethreading.Event),
    standard=standard("eventtype", "Event"),
)
condition = typed(freethreading.Condition, "wait", "notify")
suite.adopt(cpython.ConditionTests, condtype=condition, locktype=lock)
for kind in ("Semaphore", "BoundedSemaphore"):
    suite.adopt(
        getattr(cpython, kind + "Tests"),
        semtype=counted(getattr(freethreading, kind)),
        standard=standard("semtype", kind),
    )
suite.adopt(cpython.BarrierTests, barriertype=typed(freethreading.Barrier))
suite.finish()

if __name__ == "__main__":
    unittest.main()
