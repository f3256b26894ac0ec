# SPDX-License-Identifier: MIT
"""CPython's own tests as a yardstick for our classes.

The tests are imported from where the interpreter has them (on Debian 12 that is
the package libpython3.11-testsuite), and nothing of them is copied here.  What
is known not to hold is in deviations.py.
"""

import fnmatch
import importlib
import inspect
import multiprocessing
import multiprocessing.dummy
import sys
import unittest

import deviations
import freethreading

#: "processes" or "threads"
BACKEND = "threads" if freethreading.get_backend() == "threading" else "processes"


def cpython(name):
    """A module of CPython's tests; without them there is nothing to run."""
    try:
        return importlib.import_module("test." + name)
    except ModuleNotFoundError as error:
        print(f"this Python is without its tests ({error}): install libpython3.11-testsuite")
        sys.exit(77)


def _applies(word):
    if word[-1] not in "+-":
        return word == BACKEND
    version = tuple(int(part) for part in word[:-1].split("."))
    return sys.version_info[:2] >= version if word[-1] == "+" else sys.version_info[:2] <= version


def _refuses(test):
    """Whether a test for all kinds of workers refuses ours: it would be skipped."""
    words = inspect.unwrap(test).__code__.co_consts
    return (
        BACKEND == "threads"
        and "test not appropriate for {}" in words
        and not {"threads", "processes"}.isdisjoint(words)
    )


class Suite:
    """The test cases of one program, made of CPython's."""

    def __init__(self, namespace, program):
        self._namespace = namespace
        self._deviations = self._rows(deviations.DEVIATIONS.get(program, {}))
        self._deviations |= self._rows(deviations.ASKED_FOR.get(program, {}))
        self._standard = self._rows(deviations.AS_MULTIPROCESSING.get(program, {}))
        self._not_ours = self._rows(deviations.NOT_OURS.get(program, {}))
        self._seen = set()

    @staticmethod
    def _rows(table):
        """The patterns of a table that apply to this interpreter and backend."""
        rows = set()
        for pattern, text in table.items():
            words, colon, _ = text.partition(":")
            words = words.split() if colon else []
            if all(word[-1] in "+-" or word in ("processes", "threads") for word in words):
                if not all(map(_applies, words)):
                    continue
            rows.add(pattern)
        return rows

    def _matches(self, rows, test):
        found = [row for row in rows if fnmatch.fnmatchcase(test, row)]
        self._seen.update(found)
        return bool(found)

    def adopt(self, base, *mixins, name=None, standard=None, **attributes):
        """Make a test case of `base`, which may be one already or a mixin; the
        attributes replace what it has.  `standard` are those of a second one,
        with classes of multiprocessing, of the tests that these fail as ours do."""
        if BACKEND not in getattr(base, "ALLOWED_TYPES", BACKEND):
            return
        name = name or base.__name__.lstrip("_")
        bases = (base, *mixins)
        if not issubclass(base, unittest.TestCase):
            bases += (unittest.TestCase,)
        body = {"__module__": self._namespace["__name__"], "__qualname__": name, **attributes}
        kind = type(name, bases, dict(body))
        twin = {**body, **(standard or {}), "__qualname__": "Standard" + name}
        for test in unittest.defaultTestLoader.getTestCaseNames(kind):
            if self._matches(self._not_ours, f"{name}.{test}") or _refuses(getattr(kind, test)):
                body[test] = None
            elif self._matches(self._deviations, f"{name}.{test}"):
                body[test] = unittest.expectedFailure(getattr(kind, test))
            elif self._matches(self._standard, f"{name}.{test}"):
                body[test] = unittest.expectedFailure(getattr(kind, test))
                continue
            twin[test] = None
        self._namespace[name] = type(name, bases, body)
        if standard:
            self._namespace["Standard" + name] = type("Standard" + name, bases, twin)

    def finish(self):
        """A row that fits nothing, because CPython has renamed a test, fails."""
        left = (self._deviations | self._standard | self._not_ours) - self._seen

        class TestTable(unittest.TestCase):
            def test_every_row_fits(self):
                self.assertEqual(left, set())

        TestTable.__module__ = self._namespace["__name__"]
        self._namespace["TestTable"] = TestTable


class _Names:
    """The names that CPython's test cases of multiprocessing get their subjects by."""

    Process = freethreading.Worker
    Pool = freethreading.WorkerPool
    Lock = freethreading.Lock
    RLock = freethreading.RLock
    Semaphore = freethreading.Semaphore
    BoundedSemaphore = freethreading.BoundedSemaphore
    Condition = freethreading.Condition
    Event = freethreading.Event
    Barrier = freethreading.Barrier
    Queue = JoinableQueue = freethreading.Queue
    SimpleQueue = freethreading.SimpleQueue
    current_process = staticmethod(freethreading.current_worker)
    active_children = staticmethod(freethreading.active_children)


class _ThreadNames(_Names):
    class Process(freethreading.Worker):
        @property
        def exitcode(self):
            """What multiprocessing.dummy gives its threads."""
            return 0 if self.ident and not self.is_alive() else None

    # A by-stander that may be an argument: it must be picklable on each backend.
    Pipe = staticmethod(multiprocessing.Pipe)


class _ProcessNames(_Names):
    # The same, of the kind that may travel to a process that is not a fork.
    Value = staticmethod(multiprocessing.get_context("spawn").Value)


def names(tests):
    """The mixin for a test case of test._test_multiprocessing, on this backend."""
    if BACKEND == "threads":
        return type("Ours", (_ThreadNames, tests.ThreadsMixin), {})
    return type("Ours", (_ProcessNames, tests.ProcessesMixin), {})


class Module:
    """Stands in for the module multiprocessing, for tests that name it."""

    @staticmethod
    def get_start_method():
        """What ours are most like."""
        return "spawn"

    def __getattr__(self, name):
        return getattr(_Names if hasattr(_Names, name) else multiprocessing, name)


def stand_in(tests):
    """setUpModule and tearDownModule that put a Module in its place."""

    def set_up():
        tests.multiprocessing = Module()

    def tear_down():
        tests.multiprocessing = multiprocessing

    return set_up, tear_down
