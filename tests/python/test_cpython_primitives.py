#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of its primitives between workers, run on ours."""

import unittest

import freethreading
import yardstick

cpython = yardstick.cpython("_test_multiprocessing")
setUpModule, tearDownModule = yardstick.stand_in(cpython)
Ours = yardstick.names(cpython)


class Tally:
    """What the barrier tests count with: a list of which only the length is seen."""

    def __init__(self):
        self._count = freethreading.Semaphore(0)

    def append(self, _):
        self._count.release()

    def __len__(self):
        return self._count.get_value()


def make_list(case):
    return Tally()


def check_invariant(case, cond):
    """CPython's looks at the semaphores that its Condition is made of. What they
    stand for: when nobody sleeps, a notification is not kept."""
    with cond:
        cond.notify()
        case.assertFalse(cond.wait(0))


suite = yardstick.Suite(globals(), "test_cpython_primitives")
suite.adopt(cpython._TestLock, Ours)
suite.adopt(cpython._TestSemaphore, Ours)
suite.adopt(cpython._TestCondition, Ours, check_invariant=check_invariant)
suite.adopt(cpython._TestEvent, Ours)
suite.adopt(cpython._TestBarrier, Ours, DummyList=make_list)
suite.adopt(cpython._TestQueue, Ours)
suite.adopt(cpython.TestSimpleQueue)
suite.finish()

if __name__ == "__main__":
    unittest.main()
