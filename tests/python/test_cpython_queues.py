#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of its queues between threads, run on ours."""

import multiprocessing
import queue
import unittest

import freethreading
import yardstick

cpython = yardstick.cpython("test_queue")


# From 3.13 on the tests with many threads want to be told of the memory that
# such threads' stacks may take.
yardstick.cpython("support").real_max_memuse = 8 << 30


class Queues:
    """Stands in for the module queue: our class, its exceptions."""

    Queue = freethreading.Queue

    def __getattr__(self, name):
        return getattr(queue, name)


suite = yardstick.Suite(globals(), "test_cpython_queues")
standard = {"type2test": staticmethod(multiprocessing.get_context("spawn").JoinableQueue)}
suite.adopt(cpython.QueueTest, queue=Queues(), standard=standard)
# Our SimpleQueue has no timeouts to test, and Queue all of those: it stands the
# load test of the other's.
suite.adopt(
    cpython.BaseSimpleQueueTest,
    name="LoadTest",
    queue=Queues(),
    type2test=staticmethod(freethreading.Queue),
    standard=standard,
)
suite.finish()

if __name__ == "__main__":
    unittest.main()
