#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of concurrent.futures, run on WorkerPoolExecutor."""

import unittest

import freethreading
import yardstick

# One file up to 3.11, a package later.
FILES = "executor init wait as_completed shutdown thread_pool process_pool deadlock".split()


def modules():
    package = yardstick.cpython("test_concurrent_futures")
    if not hasattr(package, "__path__"):
        return [package]
    names = ["util", "executor", *("test_" + name for name in FILES[1:])]
    return [yardstick.cpython("test_concurrent_futures." + name) for name in names]


cpython = modules()


def find(name):
    """A class of CPython's tests, wherever it is."""
    return next(getattr(module, name) for module in cpython if hasattr(module, name))


class Manager:
    """What the tests want of a manager, an Event, can do without."""

    Event = freethreading.Event

    def shutdown(self):
        pass

    join = shutdown


class Context:
    """What the tests want of a context of multiprocessing."""

    Manager = Manager
    Queue = freethreading.Queue
    Semaphore = freethreading.Semaphore

    @staticmethod
    def get_start_method(allow_none):
        return "spawn"


class Processes(find("ProcessPoolSpawnMixin")):
    executor_type = freethreading.WorkerPoolExecutor

    def get_context(self):
        return Context()

    def create_event(self):
        return freethreading.Event()


class Threads(find("ThreadPoolMixin")):
    executor_type = freethreading.WorkerPoolExecutor

    def create_event(self):
        return freethreading.Event()


suite = yardstick.Suite(globals(), "test_cpython_executors")
for case in ("WaitTests", "AsCompletedTests", "InitializerMixin", "FailingInitializerMixin"):
    suite.adopt(find(case), Processes if yardstick.BACKEND == "processes" else Threads)
if yardstick.BACKEND == "processes":
    for case in ("ProcessPoolExecutorTest", "ProcessPoolShutdownTest", "ExecutorDeadlockTest"):
        suite.adopt(find(case), Processes)
else:
    for case in ("ThreadPoolExecutorTest", "ThreadPoolShutdownTest"):
        suite.adopt(find(case), executor_type=freethreading.WorkerPoolExecutor)
del case
suite.finish()

if __name__ == "__main__":
    unittest.main()
