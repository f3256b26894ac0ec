# SPDX-License-Identifier: MIT
"""What workers run.  They import this module and nothing else of ft-bench."""

import functools
import operator
import os
import time


def empty():
    """Nothing: an empty call."""


def square(x):
    return x * x


def plus(x, y):
    return x + y


def echo(x):
    return x


def spin(count):
    """A task that only computes, in plain Python; about 50 ns each round."""
    return functools.reduce(operator.xor, (i * i for i in range(count)), 0)


# ---- the other side of operations between two workers ----
#
# A role does its side of `count` operations.


def serve(orders, reports, role, args):
    """Does a role as often as ordered, each time it is; None ends it."""
    while (count := orders.get()) is not None:
        reports.put(None)
        role(count, *args)
        reports.put(time.perf_counter())


def answer_semaphore(count, mine, yours):
    for _ in range(count):
        mine.acquire()
        yours.release()


def cross(count, barrier):
    for _ in range(count):
        barrier.wait()


def sections(count, lock):
    for _ in range(count):
        with lock:
            pass


def answer_queue(count, mine, yours):
    for _ in range(count):
        yours.put(mine.get())


def take(count, queue):
    for _ in range(count):
        queue.get()


def pid(x):
    return os.getpid()
