#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""freethreading._core: the native types by themselves, without the package's
own use of them."""

import copy
import errno
import gc
import math
import os
import pickle
import queue
import select
import signal
import sys
import threading
import time
import traceback
import unittest
import weakref

from freethreading import _core
from support import (
    LIMIT,
    Alarm,
    Raised,
    TestCase,
    Thread,
    blocks,
    eventually,
    gone,
    in_fork,
    raiser,
    refused,
    state,
)

# The helper of the spawner tests.  Each worker runs the Python text that it is
# sent, with `arg`; its status is what the text leaves in `status`.
HELPER = """
import os, pickle, signal, sys, time
from freethreading import _core
def child(payload):
    text, arg = pickle.loads(payload)
    scope = {**globals(), "arg": arg, "status": 0}
    exec(text, scope)
    return scope["status"]
raise SystemExit(_core.serve(child))
"""

SERVE = """
import os
def echo(task):
    return task
def run(task):
    command = bytes(task[:1])
    if command == b"e":
        return task[1:]
    if command == b"s":
        return -int(task[1:])
    if command == b"t":
        return (-5, b"why")
    if command == b"n":
        return None
    if command == b"p":
        return str(os.getpid()).encode()
    if command == b"k":
        os.kill(os.getpid(), 9)
    if command == b"w":
        gate.wait()
        return b"waited"
    if command == b"z":
        task[1:4] = b"abc"
        return task
    if command == b"v":
        global kept
        kept = memoryview(task)[1:]
        return b"kept"
    if command == b"q":
        return 3.5
    raise ZeroDivisionError("asked for")
handle, gate = arg
seat = _core.Seat(handle)
try:
    seat.serve(run)
finally:
    seat.close()
"""


class TimeoutTest(TestCase):
    def setUp(self):
        self.lock = _core.Lock()

    def test_for_ever(self):
        for timeout in (None, math.inf, 1e300, 10**40, 2**63 - 1, 9.3e9):
            with self.subTest(timeout=timeout):
                self.assertIs(self.lock.acquire(timeout=timeout), True)
                self.lock.release()

    def test_at_once(self):
        self.lock.acquire()
        for timeout in (0, 0.0, -1, -0.5, -math.inf, -(10**40), False):
            with self.subTest(timeout=timeout):
                start = time.monotonic()
                self.assertIs(self.lock.acquire(timeout=timeout), False)
                self.assertLess(time.monotonic() - start, 5)

    def test_at_once_on_a_free_lock(self):
        for timeout in (0, -1, -0.5):
            self.assertIs(self.lock.acquire(True, timeout), True)
            self.lock.release()

    def test_seconds(self):
        self.lock.acquire()
        for timeout in (0.05, 1e-9, Index(0), Float(0.01)):
            start = time.monotonic()
            self.assertIs(self.lock.acquire(timeout=timeout), False)
            self.assertGreaterEqual(time.monotonic() - start, float(timeout))

    def test_nan(self):
        with self.assertRaisesRegex(ValueError, "NaN"):
            self.lock.acquire(timeout=math.nan)

    def test_wrong_type(self):
        for timeout in ("1", b"1", [], 1j):
            with self.subTest(timeout=timeout), self.assertRaisesRegex(TypeError, "seconds"):
                self.lock.acquire(timeout=timeout)
        with self.assertRaises(TypeError):
            _core.Event().wait("soon")


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Float(Index):
    def __float__(self):
        return self.value


class ArgumentsTest(TestCase):
    """Fast calls are parsed by hand."""

    def test_names(self):
        lock = _core.Lock()
        self.assertTrue(lock.acquire(blocking=False, timeout=None))
        self.assertFalse(lock.acquire(False))
        self.assertFalse(lock.acquire(True, 0))
        self.assertFalse(lock.acquire(True, timeout=0))

    def test_mistakes(self):
        lock, q = _core.Lock(), _core.Queue()
        with self.assertRaisesRegex(TypeError, "at most 2 arguments"):
            lock.acquire(1, 2, 3)
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'block'"):
            lock.acquire(block=True)
        with self.assertRaisesRegex(TypeError, "multiple values for argument 'blocking'"):
            lock.acquire(True, blocking=True)
        with self.assertRaisesRegex(TypeError, "missing required argument: 'item'"):
            q.put()
        self.assertFalse(lock.locked())

    def test_constructors(self):
        for kind in (_core.Lock, _core.Event):
            with self.assertRaises(TypeError):
                kind(1)
            with self.assertRaises(TypeError):
                kind(x=1)
        with self.assertRaises(TypeError):
            _core.Queue("1")
        for kind in (_core.Child, _core.Ticket, _core.Task):
            with self.assertRaises(TypeError):
                kind()

    def test_documented(self):
        for kind in vars(_core).values():
            if not isinstance(kind, type) or kind.__module__ != _core.__name__:
                continue
            self.assertTrue(kind.__doc__, kind)
            for name, member in vars(kind).items():
                if not name.startswith("__"):
                    self.assertTrue(member.__doc__, f"{kind.__name__}.{name}")
        for function in (_core.attach, _core.serve, _core.place, _core.info, _core.strerror):
            self.assertTrue(function.__doc__)


class LockTest(TestCase):
    def test_life(self):
        lock = _core.Lock()
        self.assertFalse(lock.locked())
        self.assertRegex(repr(lock), "^<Lock.owner=None.>$")
        self.assertIs(lock.acquire(), True)
        self.assertTrue(lock.locked())
        self.assertRegex(repr(lock), "^<Lock.owner=MainProcess.>$")
        self.assertIs(lock.acquire(blocking=False), False)
        self.assertIsNone(lock.release())
        self.assertFalse(lock.locked())

    def test_release_of_an_unlocked_one(self):
        lock = _core.Lock()
        for _ in range(2):
            with self.assertRaisesRegex(ValueError, "released too many times"):
                lock.release()
        self.assertTrue(lock.acquire(timeout=0))

    def test_with(self):
        lock = _core.Lock()
        with lock as value:
            self.assertIs(value, True)
            self.assertTrue(lock.locked())
        self.assertFalse(lock.locked())
        with self.assertRaises(Raised), lock:
            raiser()
        self.assertFalse(lock.locked())

    def test_released_by_another_thread(self):
        lock = _core.Lock()
        lock.acquire()
        Thread(lock.release).done()
        self.assertFalse(lock.locked())

    def test_a_thread_may_end_holding_it(self):
        locks = [_core.Lock() for _ in range(40)]
        before = _core.arena_info()["slots"]
        for _ in range(20):
            for lock in locks[:20]:
                Thread(lock.acquire).done()
            Thread(lambda: [lock.acquire() for lock in locks[20:]]).done()
            for lock in locks:
                self.assertTrue(lock.locked())
                self.assertFalse(lock.acquire(timeout=0))
                lock.release()
        self.assertLess(_core.arena_info()["slots"], before + 50)

    def test_mutual_exclusion(self):
        lock, total = _core.Lock(), [0]

        def add():
            for _ in range(2000):
                with lock:
                    value = total[0]
                    if value % 64 == 0:
                        time.sleep(0)
                    total[0] = value + 1

        for thread in [Thread(add) for _ in range(4)]:
            thread.done()
        self.assertEqual(total[0], 8000)

    def test_waiting_lets_other_threads_run(self):
        lock, taken, let_go = _core.Lock(), threading.Event(), threading.Event()
        lock.acquire()

        def take():
            with lock:
                taken.set()
                let_go.wait(LIMIT)

        thread = Thread(take)
        self.assertFalse(taken.wait(0.01))
        lock.release()
        self.assertTrue(taken.wait(LIMIT))
        self.assertTrue(lock.locked())
        let_go.set()
        thread.done()
        self.assertFalse(lock.locked())

    def test_signal_handler_runs_in_the_wait(self):
        lock = _core.Lock()
        lock.acquire()

        def handler():
            if lock.locked():
                lock.release()

        with Alarm(handler) as alarm:
            self.assertTrue(lock.acquire(timeout=LIMIT))
        self.assertGreaterEqual(alarm.count, 1)

    def test_signal_handler_may_raise(self):
        lock = _core.Lock()
        lock.acquire()
        with Alarm(raiser), self.assertRaises(Raised):
            lock.acquire()
        self.assertTrue(lock.locked())
        lock.release()
        self.assertTrue(lock.acquire(timeout=0))

    def test_signals_do_not_stretch_the_timeout(self):
        lock = _core.Lock()
        lock.acquire()
        start = time.monotonic()
        with Alarm(lambda: None) as alarm:
            self.assertFalse(lock.acquire(timeout=0.3))
        self.assertGreaterEqual(alarm.count, 2)
        self.assertGreaterEqual(time.monotonic() - start, 0.3)
        self.assertLess(time.monotonic() - start, 10)


class SharingTest(TestCase):
    """What Lock, Event and Queue have in common."""

    kinds = (_core.Lock, _core.Event, _core.Queue)

    def test_weak_references(self):
        for kind in self.kinds:
            thing = kind()
            ref = weakref.ref(thing)
            self.assertIs(ref(), thing)
            del thing
            self.assertIsNone(ref())

    def test_pickled_is_the_same(self):
        lock, event, q = _core.Lock(), _core.Event(), _core.Queue(3)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            lock2, event2, q2 = pickle.loads(pickle.dumps((lock, event, q), protocol))
            lock2.acquire()
            self.assertTrue(lock.locked())
            lock.release()
            event2.set()
            self.assertTrue(event.is_set())
            event.clear()
            q2.put(protocol)
            self.assertEqual(q.get(), protocol)
            self.assertEqual(q2.maxsize, 3)

    def test_reduce(self):
        for kind in self.kinds:
            thing = kind()
            function, (name, handle) = thing.__reduce__()
            self.assertIs(function, _core.attach)
            self.assertEqual(name, kind.__name__)
            self.assertIs(type(handle), int)

    def test_the_last_one_frees(self):
        for kind in self.kinds:
            before = blocks()
            first = kind()
            data = pickle.dumps(first)
            second = pickle.loads(data)
            third = copy.copy(second)
            del first, second
            self.assertEqual(blocks(), before + 1)
            self.assertIsInstance(pickle.loads(data), kind)
            del third
            self.assertEqual(blocks(), before)
            with self.assertRaisesRegex(
                ValueError, f"this {kind.__name__} no longer exists.*keep a reference"
            ):
                pickle.loads(data)

    def test_stale_even_if_the_memory_is_used_again(self):
        data = pickle.dumps(_core.Lock())
        others = [_core.Lock() for _ in range(1000)]
        with self.assertRaisesRegex(ValueError, "no longer exists"):
            pickle.loads(data)
        del others

    def test_attach_of_nonsense(self):
        lock = _core.Lock()
        handle = lock.__reduce__()[1][1]
        for name, number in (
            ("Queue", handle),
            ("Event", handle),
            ("Barrier", handle),
            (b"Lock", handle),
            ("Lock", 0),
            ("Lock", 12345),
            ("Lock", 2**64 - 1),
        ):
            with self.subTest(name=name, number=number), self.assertRaises(ValueError):
                _core.attach(name, number)
        with self.assertRaises(OverflowError):
            _core.attach("Lock", 2**64)
        with self.assertRaises(OverflowError):
            _core.attach("Lock", -1)
        with self.assertRaises(TypeError):
            _core.attach("Lock", "1")
        self.assertTrue(lock.acquire(timeout=0))

    def test_no_leak(self):
        for kind in self.kinds:
            before = blocks()
            for _ in range(10_000):
                kind()
            self.assertEqual(blocks(), before)
            many = [kind() for _ in range(3000)]
            self.assertEqual(blocks(), before + 3000)
            del many
            self.assertEqual(blocks(), before)
        _core.arena_check()

    def test_subclass(self):
        class Named(_core.Lock):
            def __init__(self, name):
                self.name = name

            def __new__(cls, name):
                return super().__new__(cls)

        before = blocks()
        lock = Named("n")
        self.assertEqual(lock.name, "n")
        with lock:
            self.assertTrue(lock.locked())
        lock.me = lock
        ref = weakref.ref(lock)
        del lock
        gc.collect()
        self.assertIsNone(ref())
        self.assertEqual(blocks(), before)

    def test_types_are_closed(self):
        for kind in self.kinds:
            with self.assertRaises(TypeError):
                kind.colour = "red"
            with self.assertRaises(AttributeError):
                kind().colour = "red"

    def test_many_threads_make_and_drop(self):
        before = blocks()
        shared = [_core.Lock() for _ in range(8)]
        data = pickle.dumps(shared)

        def churn():
            for _ in range(200):
                for lock in pickle.loads(data):
                    lock.locked()
                _core.Event().set()

        for thread in [Thread(churn) for _ in range(4)]:
            thread.done()
        del shared
        self.assertEqual(blocks(), before)


class EventTest(TestCase):
    def test_life(self):
        event = _core.Event()
        self.assertIs(event.is_set(), False)
        self.assertIn("unset", repr(event))
        self.assertIs(event.wait(0), False)
        self.assertIs(event.wait(timeout=0.01), False)
        self.assertIsNone(event.set())
        self.assertIs(event.is_set(), True)
        self.assertIs(event.wait(), True)
        self.assertIs(event.wait(-1), True)
        self.assertIsNone(event.clear())
        self.assertIs(event.is_set(), False)

    def test_wakes_all_waiters(self):
        event = _core.Event()
        threads = [Thread(event.wait) for _ in range(5)]
        event.set()
        for thread in threads:
            thread.done()

    def test_signal_handler_sets_it(self):
        event = _core.Event()
        with Alarm(event.set):
            self.assertTrue(event.wait(LIMIT))


class Unpicklable:
    def __reduce__(self):
        raise Raised


class Explosive:
    """Pickles well, and raises when it is unpickled."""

    def __reduce__(self):
        return raiser, ()


class QueueTest(TestCase):
    def test_order(self):
        q = _core.Queue()
        self.assertTrue(q.empty())
        for i in range(100):
            self.assertIsNone(q.put(i))
        self.assertEqual(q.qsize(), 100)
        self.assertFalse(q.full())
        self.assertEqual([q.get() for _ in range(100)], list(range(100)))
        self.assertTrue(q.empty())

    def test_items_of_any_size(self):
        q = _core.Queue()
        for size in (0, 1, 4000, 4080, 4096, 4097, 65_000, 70_000, 3_000_000):
            item = os.urandom(size)
            q.put(item)
            self.assertEqual(q.get(), item)
        q.put([bytearray(100_000), {"a": (1, None)}])
        self.assertEqual(q.get(), [bytearray(100_000), {"a": (1, None)}])

    def test_bound(self):
        q = _core.Queue(2)
        self.assertEqual(q.maxsize, 2)
        q.put_nowait(1)
        self.assertFalse(q.full())
        q.put(2, timeout=-1)
        self.assertTrue(q.full())
        for put in (
            lambda: q.put_nowait(3),
            lambda: q.put(3, False),
            lambda: q.put(3, block=False, timeout=5),
            lambda: q.put(3, True, 0.01),
            lambda: q.put(3, timeout=-1),
        ):
            with self.assertRaises(queue.Full):
                put()
        self.assertEqual(q.qsize(), 2)
        thread = Thread(q.put, 3)
        self.assertEqual(q.get(), 1)
        thread.done()
        self.assertEqual([q.get(), q.get()], [2, 3])

    def test_no_bound(self):
        for maxsize in (0, -1, -(2**63)):
            q = _core.Queue(maxsize=maxsize)
            self.assertEqual(q.maxsize, 0)
            for i in range(1000):
                q.put_nowait(i)
            self.assertFalse(q.full())
        self.assertEqual(_core.Queue(2**62).maxsize, 2**62)
        with self.assertRaises(OverflowError):
            _core.Queue(2**64)

    def test_empty(self):
        q = _core.Queue()
        for get in (
            q.get_nowait,
            lambda: q.get(False),
            lambda: q.get(block=False, timeout=5),
            lambda: q.get(True, 0.01),
            lambda: q.get(timeout=-1),
        ):
            with self.assertRaises(queue.Empty):
                get()

    def test_waiting_get(self):
        q, got = _core.Queue(), []
        thread = Thread(lambda: got.append(q.get()))
        q.put("x")
        thread.done()
        self.assertEqual(got, ["x"])

    def test_unpicklable_item(self):
        q = _core.Queue()
        before = blocks()
        with self.assertRaises(Raised):
            q.put(Unpicklable())
        with self.assertRaises((pickle.PicklingError, AttributeError)):
            q.put(lambda: None)
        self.assertEqual(q.qsize(), 0)
        self.assertEqual(blocks(), before)

    def test_item_that_does_not_arrive(self):
        q = _core.Queue()
        before = blocks()
        for size in (0, 10_000):
            q.put((b"x" * size, Explosive()))
            with self.assertRaises(Raised):
                q.get()
        self.assertTrue(q.empty())
        self.assertEqual(blocks(), before)

    def test_task_done(self):
        q = _core.Queue()
        with self.assertRaisesRegex(ValueError, r"task_done\(\) called too many times"):
            q.task_done()
        q.join()
        q.put(1)
        q.put(2)
        joined = threading.Event()
        thread = Thread(lambda: (q.join(), joined.set()))
        q.get()
        q.task_done()
        q.get()
        self.assertFalse(joined.is_set())
        q.task_done()
        thread.done()
        self.assertTrue(joined.is_set())
        with self.assertRaises(ValueError):
            q.task_done()

    def test_close_is_for_this_object(self):
        q = _core.Queue()
        other = pickle.loads(pickle.dumps(q))
        q.put(1)
        q.close()
        q.close()
        for use in (lambda: q.put(2), lambda: q.put_nowait(2), q.get, q.get_nowait):
            with self.assertRaisesRegex(ValueError, "Queue <.*> is closed"):
                use()
        with self.assertRaisesRegex(OSError, "is closed"):
            q.empty()
        self.assertFalse(other.empty())
        other.put(3)
        self.assertEqual([other.get(), other.get()], [1, 3])
        unused = _core.Queue()
        unused.close()
        self.assertTrue(unused.empty())
        self.assertIsNone(q.join_thread())
        self.assertIsNone(q.cancel_join_thread())

    def test_its_items_go_with_it(self):
        before = blocks()
        q = _core.Queue()
        for i in range(100):
            q.put(b"x" * i * 100)
        del q
        self.assertEqual(blocks(), before)

    def test_carries_primitives(self):
        q, lock = _core.Queue(), _core.Lock()
        q.put({"lock": lock, "queue": q})
        item = q.get()
        item["lock"].acquire()
        self.assertTrue(lock.locked())
        item["queue"].put(1)
        self.assertEqual(q.get(), 1)

    def test_many_threads(self):
        q, total, lock = _core.Queue(7), [0, 0], threading.Lock()

        def produce(base):
            for i in range(300):
                q.put(base + i)

        def consume():
            while (item := q.get()) is not None:
                with lock:
                    total[0] += 1
                    total[1] += item

        producers = [Thread(produce, 1000 * k) for k in range(3)]
        consumers = [Thread(consume) for _ in range(3)]
        for thread in producers:
            thread.done()
        for _ in consumers:
            q.put(None)
        for thread in consumers:
            thread.done()
        self.assertEqual(total, [900, sum(1000 * k + i for k in range(3) for i in range(300))])

    def test_signal_handler_runs_in_the_wait(self):
        q = _core.Queue(1)
        with Alarm(lambda: q.empty() and q.put_nowait("rung")):
            self.assertEqual(q.get(timeout=LIMIT), "rung")
        q = _core.Queue(1)
        q.put(0)
        with Alarm(raiser), self.assertRaises(Raised):
            q.put(1)
        with Alarm(raiser), self.assertRaises(Raised):
            q.join()


@unittest.skipIf(threading.active_count() > 1, "fork wants a single thread")
class ForkTest(TestCase):
    def test_refused_in_the_child(self):
        lock, event, q = _core.Lock(), _core.Event(), _core.Queue()
        data = pickle.dumps(lock)

        def child():
            return refused(
                _core.Lock,
                _core.Event,
                _core.Queue,
                lock.acquire,
                lambda: q.put(1),
                q.get,
                lambda: pickle.loads(data),
                lambda: _core.Spawner([sys.executable, "-c", ""]),
            )

        self.assertEqual(in_fork(child), 8)
        self.assertTrue(lock.acquire(timeout=0))
        event.set()
        q.put(1)
        self.assertEqual(q.get(), 1)

    def test_dropping_in_the_child_frees_nothing(self):
        things = [_core.Lock(), _core.Queue()]
        things[1].put("here")
        before = blocks()

        def child():
            things.clear()
            return 0

        self.assertEqual(in_fork(child), 0)
        self.assertEqual(blocks(), before)
        with things[0]:
            self.assertEqual(things[1].get(timeout=0), "here")


class SpawnerTestCase(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.spawner = _core.Spawner([sys.executable, "-c", HELPER])
        cls.addClassCleanup(cls.spawner.stop)

    def spawn(self, text, arg=None, name="w", **options):
        child = self.spawner.spawn(pickle.dumps((text, arg)), name, **options)
        self.addCleanup(self.end, child)
        return child

    def end(self, child):
        child.kill(signal.SIGKILL)
        self.assertTrue(child.wait(LIMIT), "a worker does not end")


class SpawnerTest(SpawnerTestCase):
    def test_life(self):
        gate = _core.Event()
        child = self.spawn("arg.wait(); status = 7", gate, name="worker-with-a-long-name")
        self.assertGreater(child.pid, 0)
        self.assertNotEqual(child.pid, os.getpid())
        self.assertEqual(child.name, "worker-with-a-l")
        self.assertIn(str(child.pid), repr(child))
        self.assertIsNone(child.exitcode)
        self.assertIs(child.wait(0), False)
        self.assertIs(child.wait(timeout=0.01), False)
        self.assertEqual(select.select([child.sentinel], [], [], 0)[0], [])
        gate.set()
        self.assertIs(child.wait(), True)
        self.assertEqual(child.exitcode, 7)
        self.assertEqual(select.select([child.sentinel], [], [], LIMIT)[0], [child.sentinel])
        self.assertTrue(gone(child.pid))
        self.assertIsNone(child.kill(signal.SIGKILL))
        self.assertEqual(child.exitcode, 7)

    def test_parentage_and_name(self):
        q = _core.Queue()
        child = self.spawn(
            "arg.put((os.getpid(), os.getppid(), open('/proc/self/comm').read()))", q, "ft-x"
        )
        self.assertEqual(q.get(timeout=LIMIT), (child.pid, os.getpid(), "ft-x\n"))

    def test_killed(self):
        child = self.spawn("time.sleep(1000)")
        child.kill(signal.SIGTERM)
        self.assertTrue(child.wait(LIMIT))
        self.assertEqual(child.exitcode, -signal.SIGTERM)

    def test_bad_signals(self):
        child = self.spawn("time.sleep(1000)")
        for signo in (-1, 65, 10**6):
            with self.assertRaises(ValueError):
                child.kill(signo)
        with self.assertRaises(TypeError):
            child.kill("9")

    def test_signal_handler_runs_in_the_wait(self):
        child = self.spawn("time.sleep(1000)")
        with Alarm(raiser), self.assertRaises(Raised):
            child.wait()
        with Alarm(lambda: child.kill(signal.SIGKILL)):
            self.assertTrue(child.wait())
        self.assertEqual(child.exitcode, -signal.SIGKILL)

    def test_status_is_a_byte(self):
        for value, status in ((256 + 3, 3), (-1, 255), (True, 1)):
            child = self.spawn("status = arg", value)
            self.assertTrue(child.wait(LIMIT))
            self.assertEqual(child.exitcode, status)

    def test_failing_children(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        code = HELPER.replace("exec(text", "os.dup2(1, 2); exec(text")
        with open(write, "w") as out:
            before = os.dup(1)
            os.dup2(out.fileno(), 1)
            try:
                spawner = _core.Spawner([sys.executable, "-c", code])
                children = [
                    spawner.spawn(pickle.dumps((text, None)), None)
                    for text in ("1 / 0", "raise SystemExit(5)", "status = 'x'")
                ]
                for child in children:
                    self.assertTrue(child.wait(LIMIT))
                spawner.stop()
            finally:
                os.dup2(before, 1)
                os.close(before)
        self.assertEqual([child.exitcode for child in children], [1, 1, 1])
        os.set_blocking(read, False)
        text = os.read(read, 100_000).decode()
        self.assertIn("ZeroDivisionError", text)
        self.assertIn("SystemExit", text)
        self.assertIn("TypeError", text)

    def test_cpus(self):
        cpu = min(_core.usable_cpus())
        q = _core.Queue()
        for cpus in ([cpu], {cpu}, frozenset([cpu]), (c for c in [cpu])):
            self.spawn("arg.put(os.sched_getaffinity(0))", q, cpus=cpus)
            self.assertEqual(q.get(timeout=LIMIT), {cpu})
        self.spawn("arg.put(os.sched_getaffinity(0))", q, cpus=None)
        self.assertEqual(q.get(timeout=LIMIT), os.sched_getaffinity(0))
        with self.assertRaises(ValueError):
            self.spawn("", cpus=[-1])
        with self.assertRaises(ValueError):
            self.spawn("", cpus=[4096])
        with self.assertRaises(TypeError):
            self.spawn("", cpus=["0"])
        with self.assertRaises(TypeError):
            self.spawn("", cpus=0)

    def test_large_payload(self):
        q = _core.Queue()
        data = os.urandom(3_000_000)
        self.spawn("arg[0].put(hash(arg[1]) and len(arg[1]))", (q, data))
        self.assertEqual(q.get(timeout=LIMIT), len(data))

    def test_a_dropped_child_is_reaped(self):
        gate = _core.Event()
        child = self.spawner.spawn(pickle.dumps(("arg.wait()", gate)), "w")
        pid = child.pid
        del child
        self.assertIsNotNone(state(pid))
        gate.set()
        self.assertGone([pid], LIMIT)

    def test_primitives_travel(self):
        lock, event, q = _core.Lock(), _core.Event(), _core.Queue()
        text = """
lock, event, q, count = arg
for i in range(count):
    with lock:
        total = q.get(timeout=50)
        q.put(total + 1)
event.set()
"""
        q.put(0)
        children = [self.spawn(text, (lock, event, q, 500)) for _ in range(3)]
        self.assertTrue(event.wait(LIMIT))
        for child in children:
            self.assertTrue(child.wait(LIMIT))
            self.assertEqual(child.exitcode, 0)
        self.assertEqual(q.get(timeout=0), 1500)
        self.assertFalse(lock.locked())

    def test_owner_died(self):
        lock, event = _core.Lock(), _core.Event()
        child = self.spawn("arg[0].acquire(); arg[1].set(); time.sleep(1000)", (lock, event))
        self.assertTrue(event.wait(LIMIT))
        self.assertFalse(lock.acquire(timeout=0))
        child.kill(signal.SIGKILL)
        with self.assertRaises(_core.OwnerDiedError) as caught:
            lock.acquire(timeout=LIMIT)
        self.assertEqual(caught.exception.pid, child.pid)
        self.assertIn(f"pid {child.pid} died while it held this lock", str(caught.exception))
        again = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((again.pid, str(again)), (child.pid, str(caught.exception)))
        self.assertFalse(lock.locked())
        with lock:
            pass
        self.assertTrue(issubclass(_core.OwnerDiedError, RuntimeError))

    def test_owner_died_after_its_thread(self):
        lock, event = _core.Lock(), _core.Event()
        text = """
import threading
thread = threading.Thread(target=arg[0].acquire)
thread.start()
thread.join()
arg[1].set()
time.sleep(1000)
"""
        child = self.spawn(text, (lock, event))
        self.assertTrue(event.wait(LIMIT))
        self.assertFalse(lock.acquire(timeout=0.05))
        child.kill(signal.SIGKILL)
        with self.assertRaises(_core.OwnerDiedError) as caught:
            lock.acquire(timeout=LIMIT)
        self.assertEqual(caught.exception.pid, child.pid)

    def test_owner_died_while_somebody_waits(self):
        lock, event, found = _core.Lock(), _core.Event(), []

        def wait():
            try:
                with lock:
                    found.append("no error")
            except _core.OwnerDiedError as error:
                found.append(error.pid)

        child = self.spawn("arg[0].acquire(); arg[1].set(); time.sleep(1000)", (lock, event))
        self.assertTrue(event.wait(LIMIT))
        thread = Thread(wait)
        child.kill(signal.SIGKILL)
        thread.done()
        self.assertEqual(found, [child.pid])

    def test_what_a_dead_worker_made_is_there(self):
        before = blocks()
        q = _core.Queue()
        text = """
made = [_core.Lock(), _core.Event(), _core.Queue()]
arg[0].put(made)
arg[1].wait()
"""
        gate = _core.Event()
        child = self.spawn(text, (q, gate))
        lock, event, inner = q.get(timeout=LIMIT)
        gate.set()
        self.assertTrue(child.wait(LIMIT))
        self.assertTrue(lock.acquire(timeout=0))
        event.set()
        inner.put(1)
        self.assertEqual(inner.get(), 1)
        del q, gate, lock, event, inner
        self.assertEqual(blocks(), before)

    def test_a_killed_worker_leaves_no_blocks(self):
        q = _core.Queue()
        before = blocks()
        child = self.spawn(
            "made = [_core.Queue() for _ in range(500)]\narg.put(1)\ntime.sleep(1000)", q
        )
        q.get(timeout=LIMIT)
        self.assertGreaterEqual(blocks(), before + 500)
        self.end(child)
        self.assertEqual(blocks(), before)
        _core.arena_check()

    def test_helper(self):
        spawner = _core.Spawner([sys.executable.encode(), "-c", HELPER], env=dict(os.environ, X="y"))
        pid = spawner.pid
        self.assertIsNotNone(state(pid))
        q, gate = _core.Queue(), _core.Event()
        payload = pickle.dumps(("arg[0].put(os.environ['X']); arg[1].wait()", (q, gate)))
        child = spawner.spawn(payload=payload, name=None)
        self.assertEqual(q.get(timeout=LIMIT), "y")
        spawner.stop()
        spawner.stop()
        self.assertEqual(spawner.pid, 0)
        self.assertGone([pid], LIMIT)
        self.assertIsNone(child.exitcode)
        gate.set()
        self.assertTrue(child.wait(LIMIT))
        self.assertEqual(child.exitcode, 0)
        with self.assertRaisesRegex(ValueError, "stopped"):
            spawner.spawn(payload, "w")

    def test_dropped_spawner_ends_its_helper(self):
        spawner = _core.Spawner([sys.executable, "-c", HELPER])
        pid = spawner.pid
        del spawner
        self.assertGone([pid], LIMIT)

    def test_helper_comes_back(self):
        spawner = _core.Spawner([sys.executable, "-c", HELPER])
        self.addCleanup(spawner.stop)
        payload = pickle.dumps(("status = 3", None))
        self.assertTrue(spawner.spawn(payload, "w").wait(LIMIT))
        pid = spawner.pid
        os.kill(pid, signal.SIGKILL)
        self.assertGone([pid], LIMIT)
        child = spawner.spawn(payload, "w")
        self.assertTrue(child.wait(LIMIT))
        self.assertEqual(child.exitcode, 3)
        self.assertNotEqual(spawner.pid, pid)

    def test_bad_commands(self):
        for argv, kind in (("x", TypeError), (b"x", TypeError), ([], ValueError), (3, TypeError)):
            with self.subTest(argv=argv), self.assertRaises(kind):
                _core.Spawner(argv)
        with self.assertRaises(TypeError):
            _core.Spawner([1])
        with self.assertRaises(ValueError):
            _core.Spawner(["a\0b"])
        for env in (3, {1: "x"}, {"x": 1}):
            with self.subTest(env=env), self.assertRaises((TypeError, AttributeError)):
                _core.Spawner([sys.executable], env)
        with self.assertRaises(FileNotFoundError) as caught:
            _core.Spawner(["/nonexistent/python"])
        self.assertIn("argv", str(caught.exception))

    def test_helper_that_ends(self):
        spawner = _core.Spawner([sys.executable, "-c", "pass"])
        self.addCleanup(spawner.stop)
        with self.assertRaises(OSError) as caught:
            spawner.spawn(b"", "w")
        self.assertEqual(caught.exception.errno, errno.EPIPE)
        self.assertIn("standard error", str(caught.exception))

    def test_serve_without_spawner(self):
        with self.assertRaises(OSError) as caught:
            _core.serve(lambda payload: 0)
        self.assertEqual(caught.exception.errno, errno.EPROTO)
        with self.assertRaises(TypeError):
            _core.serve(3)

    def test_helper_with_threads(self):
        code = """
import threading, os
from freethreading import _core
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    _core.serve(lambda payload: 0)
except OSError as error:
    os.write(1, str(error.errno).encode())
    os._exit(0)
"""
        read, write = os.pipe()
        before = os.dup(1)
        os.dup2(write, 1)
        os.close(write)
        try:
            spawner = _core.Spawner([sys.executable, "-c", code])
        finally:
            os.dup2(before, 1)
            os.close(before)
        self.addCleanup(spawner.stop)
        self.addCleanup(os.close, read)
        with self.assertRaises(OSError):
            spawner.spawn(b"", "w")
        self.assertEqual(select.select([read], [], [], LIMIT)[0], [read])
        self.assertEqual(int(os.read(read, 100)), errno.EBUSY)


class PoolTestCase(SpawnerTestCase):
    text = SERVE

    def setUp(self):
        self.gate = _core.Event()
        self.children = []

    def start(self, seat, handle, cpus):
        child = self.spawn(self.text, (handle, self.gate), name=f"seat-{seat}", cpus=cpus)
        self.children.append(child)
        return child

    def pool(self, workers=2, **options):
        pool = _core.Pool(workers, self.start, **options)
        self.addCleanup(self.finish, pool)
        return pool

    def finish(self, pool):
        self.gate.set()
        pool.terminate(0)
        self.assertTrue(pool.join(LIMIT), "a pool does not end")


class PoolTest(PoolTestCase):
    def test_echo(self):
        pool = self.pool()
        ticket = pool.submit(b"ehello")
        self.assertIs(ticket.wait(LIMIT), True)
        self.assertIs(ticket.done(), True)
        self.assertEqual(ticket.status(), 0)
        self.assertEqual(ticket.result(), b"hello")
        self.assertIs(type(ticket.result()), bytes)
        self.assertEqual(ticket.id, 1)
        self.assertIsNone(ticket.user)
        self.assertIn(ticket.worker_pid, [child.pid for child in self.children])
        with self.assertRaisesRegex(ValueError, "did not die"):
            ticket.death()

    def test_payloads_and_replies(self):
        pool = self.pool()
        for size in (0, 1, 79, 80, 81, 4095, 4096, 65535, 65536, 65537, 3_000_000):
            data = os.urandom(size)
            ticket = pool.submit(bytearray(b"e" + data))
            self.assertTrue(ticket.wait(LIMIT))
            result = ticket.result()
            self.assertEqual(bytes(result), data)
            self.assertIs(type(result), memoryview if size >= 65536 else bytes)
        ticket = pool.submit(memoryview(b"ehello")[0:3])
        self.assertTrue(ticket.wait(LIMIT))
        self.assertEqual(ticket.result(), b"he")
        with self.assertRaises(TypeError):
            pool.submit("text")

    def test_large_results_are_not_copied(self):
        pool = self.pool(1)
        self.assertTrue(pool.submit(b"e").wait(LIMIT))
        before = blocks()
        ticket = pool.submit(b"e" + b"x" * 100_000)
        self.assertTrue(ticket.wait(LIMIT))
        view = ticket.result()
        self.assertFalse(view.readonly)
        view[0:3] = b"abc"
        self.assertEqual(bytes(ticket.result()[:4]), b"abcx")
        ref = weakref.ref(ticket)
        del ticket
        self.assertIsNotNone(ref())
        self.assertEqual(bytes(view[:4]), b"abcx")
        self.assertEqual(blocks(), before + 1)
        view.release()
        gc.collect()
        self.assertIsNone(ref())
        self.assertEqual(blocks(), before)

    def test_large_arguments_are_writable(self):
        ticket = self.pool().submit(b"z" + b"x" * 9999)
        self.assertTrue(ticket.wait(LIMIT))
        self.assertEqual(ticket.result(), b"zabc" + b"x" * 9996)

    def test_statuses(self):
        pool = self.pool()
        for payload, status, result in (
            (b"s5", -5, b""),
            (b"s0", 0, b""),
            (b"t", -5, b"why"),
            (b"n", 0, b""),
        ):
            ticket = pool.submit(payload)
            self.assertTrue(ticket.wait(LIMIT))
            self.assertEqual((ticket.status(), ticket.result()), (status, result))

    def test_before_the_end(self):
        pool = self.pool(1)
        ticket = pool.submit(b"w")
        self.assertIs(ticket.wait(0), False)
        self.assertIs(ticket.wait(timeout=0.01), False)
        self.assertIs(ticket.done(), False)
        for call in (ticket.status, ticket.result):
            with self.assertRaisesRegex(RuntimeError, "not ended"):
                call()
        with self.assertRaises(BufferError):
            memoryview(ticket)
        self.gate.set()
        self.assertTrue(ticket.wait(LIMIT))
        self.assertEqual(ticket.result(), b"waited")

    def test_submit_many(self):
        pool = self.pool()
        payloads = [b"e%d" % i for i in range(500)]
        tickets = pool.submit_many(payloads, user_list=range(500))
        self.assertTrue(pool.wait_all(tickets, LIMIT))
        self.assertTrue(pool.wait_all(tickets, timeout=0))
        self.assertTrue(pool.wait_all([]))
        self.assertEqual([t.result() for t in tickets], [p[1:] for p in payloads])
        self.assertEqual([t.user for t in tickets], list(range(500)))
        self.assertEqual([t.id for t in tickets], list(range(1, 501)))
        self.assertEqual(pool.submit_many([]), [])
        with self.assertRaises(ValueError):
            pool.submit_many([b"e"], user_list=[])
        with self.assertRaises(TypeError):
            pool.submit_many([b"e", 3])
        with self.assertRaises(TypeError):
            pool.wait_all([3])
        with self.assertRaises(TypeError):
            pool.wait_all(3)

    def test_wait_all_in_time(self):
        pool = self.pool(1)
        tickets = [pool.submit(b"e"), pool.submit(b"w")]
        self.assertIs(pool.wait_all(tickets, 0.05), False)
        self.gate.set()
        self.assertIs(pool.wait_all(tickets, LIMIT), True)

    def test_next(self):
        pool = self.pool()
        self.assertIsNone(pool.next(0))
        self.assertIsNone(pool.next(timeout=0.01))
        tickets = {pool.submit(b"e%d" % i, notify=True, user=i) for i in range(50)}
        silent = pool.submit(b"e")
        found = {pool.next(LIMIT) for _ in range(50)}
        self.assertEqual(found, tickets)
        self.assertEqual(sorted(ticket.user for ticket in found), list(range(50)))
        self.assertTrue(silent.wait(LIMIT))
        self.assertIsNone(pool.next(0))
        pool.close()
        with self.assertRaises(EOFError):
            pool.next(LIMIT)

    def test_next_by_group(self):
        pool = self.pool()
        pool.submit_many([b"e"] * 3, notify=True, user_list=["a"] * 3, group=1)
        pool.submit_many([b"e"] * 2, True, ["b"] * 2, 0, 2)
        pool.submit(b"e", True, "c")
        self.assertEqual([pool.next(LIMIT, 2).user for _ in range(2)], ["b", "b"])
        self.assertEqual(pool.next(LIMIT).user, "c")
        self.assertIsNone(pool.next(0, group=2))
        self.assertIsNone(pool.next(0))
        self.assertEqual([pool.next(LIMIT, group=1).user for _ in range(3)], ["a"] * 3)

    def test_a_group_is_told_its_end(self):
        pool = self.pool()
        left = pool.submit(b"e", notify=True, group=7)
        pool.close()
        with self.assertRaises(EOFError):
            pool.next(LIMIT)
        with self.assertRaises(EOFError):
            pool.next(LIMIT, 8)
        self.assertIs(pool.next(LIMIT, 7), left)

    def test_next_while_others_submit(self):
        pool, seen = self.pool(), []

        def take():
            try:
                while True:
                    seen.append(pool.next().user)
            except EOFError:
                pass

        takers = [Thread(take) for _ in range(2)]
        senders = [
            Thread(pool.submit_many, [b"e"] * 300, True, range(k, k + 300)) for k in (0, 300)
        ]
        for thread in senders:
            thread.done()
        pool.close()
        for thread in takers:
            thread.done()
        self.assertEqual(sorted(seen), list(range(600)))

    def test_cancel(self):
        pool = self.pool(1)
        running = pool.submit(b"w")
        self.assertTrue(eventually(lambda: running.worker_pid))
        waiting = pool.submit(b"e", notify=True)
        self.assertIs(waiting.cancel(), True)
        self.assertIs(waiting.done(), True)
        self.assertEqual(waiting.status(), -errno.ECANCELED)
        self.assertIs(waiting.cancel(), False)
        self.assertIs(running.cancel(), False)
        self.assertIs(pool.next(LIMIT), waiting)
        self.gate.set()
        self.assertTrue(running.wait(LIMIT))
        self.assertIs(running.cancel(), False)

    def test_a_dropped_ticket(self):
        pool = self.pool(1)
        self.assertTrue(pool.submit(b"e").wait(LIMIT))
        before = blocks()
        for _ in range(20):
            pool.submit(b"e" + b"x" * 5000)
        last = pool.submit(b"e")
        self.assertTrue(last.wait(LIMIT))
        self.assertTrue(eventually(lambda: pool.poll() or blocks() == before))

    def test_death(self):
        pool = self.pool(2)
        good = pool.submit(b"e")
        self.assertTrue(good.wait(LIMIT))
        ticket = pool.submit(b"k")
        self.assertTrue(ticket.wait(LIMIT))
        self.assertEqual(ticket.status(), -errno.EOWNERDEAD)
        self.assertEqual(ticket.result(), b"")
        pid, signo, code, name = ticket.death()
        self.assertIn(pid, [child.pid for child in self.children])
        self.assertEqual((signo, code), (signal.SIGKILL, 0))
        self.assertRegex(name, "seat-[01]")
        tickets = pool.submit_many([b"e"] * 20)
        self.assertTrue(pool.wait_all(tickets, LIMIT))
        self.assertEqual({t.status() for t in tickets}, {0})
        self.assertTrue(eventually(lambda: pool.poll() or len(self.children) == 3))
        stats = pool.stats()
        self.assertEqual(stats["lost"], 1)
        self.assertEqual(stats["restarts"], 1)

    def test_run_raises(self):
        pool = self.pool(1)
        for payload in (b"x", b"q", b"v" + b"x" * 5000):
            ticket = pool.submit(payload)
            self.assertTrue(ticket.wait(LIMIT))
            self.assertEqual(ticket.status(), -errno.EFAULT, payload)
            self.assertTrue(pool.submit(b"e").wait(LIMIT))

    def test_close_and_join(self):
        pool = self.pool()
        with self.assertRaisesRegex(ValueError, "still running"):
            pool.join()
        tickets = pool.submit_many([b"e"] * 100)
        pool.close()
        pool.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            pool.submit(b"e")
        self.assertIs(pool.join(LIMIT), True)
        self.assertEqual({t.status() for t in tickets}, {0})
        for child in self.children:
            self.assertTrue(child.wait(LIMIT))
            self.assertEqual(child.exitcode, 0)
        self.assertTrue(pool.join())
        with self.assertRaises(EOFError):
            pool.next()

    def test_join_in_time(self):
        pool = self.pool(1)
        pool.submit(b"w")
        pool.close()
        self.assertIs(pool.join(0), False)
        self.assertIs(pool.join(timeout=0.05), False)
        self.gate.set()
        self.assertIs(pool.join(LIMIT), True)

    def test_terminate(self):
        pool = self.pool(1)
        tickets = pool.submit_many([b"w"] * 5, notify=True)
        self.assertTrue(eventually(lambda: tickets[0].worker_pid))
        pool.terminate()
        self.assertTrue(pool.join(LIMIT))
        self.assertEqual({t.status() for t in tickets}, {-errno.ECANCELED})
        self.assertEqual({pool.next() for _ in tickets}, set(tickets))
        with self.assertRaises(EOFError):
            pool.next()
        self.assertTrue(self.children[0].wait(LIMIT))
        self.assertEqual(self.children[0].exitcode, -signal.SIGTERM)
        for grace in (-1, math.nan, math.inf):
            with self.assertRaises(ValueError):
                pool.terminate(grace)

    def test_workers_that_leave(self):
        pool = self.pool(1, tasks_per_worker=3)
        pids = set()
        for _ in range(9):
            ticket = pool.submit(b"p")
            self.assertTrue(ticket.wait(LIMIT))
            pids.add(ticket.result())
        self.assertEqual(len(pids), 3)
        self.assertEqual(pool.stats()["lost"], 0)

    def test_stats_and_seats(self):
        pool = self.pool(2, name="x", place=0)
        self.assertTrue(pool.submit(b"e").wait(LIMIT))
        stats = pool.stats()
        self.assertEqual(stats["submitted"], 1)
        self.assertEqual(stats["done"], 1)
        self.assertEqual(stats["workers"], 2)
        self.assertEqual(stats["broken"], 0)
        self.assertIn(stats["collector"], ("uring-futex", "uring-poll", "epoll"))
        pids = [pool.worker_pid(0), pool.worker_pid(1)]
        self.assertEqual(sorted(pids), sorted(child.pid for child in self.children))
        for seat in (2, 2**32 - 1, 2**32):
            with self.assertRaises(ValueError):
                pool.worker_pid(seat)

    def test_bad_options(self):
        for arguments in ((), (1,), ("1", self.start), (1, 3)):
            with self.subTest(arguments=arguments), self.assertRaises(TypeError):
                _core.Pool(*arguments)
        for options in ({"place": -1}, {"tasks_per_worker": -1}, {"place": 9}):
            with self.subTest(options=options), self.assertRaises(ValueError):
                self.pool(**options)
        with self.assertRaises(ValueError):
            _core.Pool(-1, self.start)

    def test_start_that_raises(self):
        def start(seat, handle, cpus):
            raise Raised(seat)

        try:
            _core.Pool(2, start)
        except Raised as error:
            self.assertEqual(error.args, (0,))
            names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            self.assertIn("start", names)
        else:
            self.fail("nothing was raised")
        with self.assertRaisesRegex(TypeError, "a Child was expected, not int"):
            _core.Pool(1, lambda *arguments: 3)

    def test_restart_that_raises(self):
        starts = []

        def start(seat, handle, cpus):
            starts.append(seat)
            if len(starts) > 1:
                raise Raised
            return self.start(seat, handle, cpus)

        pool = _core.Pool(1, start)
        self.addCleanup(self.finish, pool)
        ticket = pool.submit(b"k")
        with self.assertRaises(Raised):
            while True:
                ticket.wait(LIMIT)
                pool.poll()
        self.assertTrue(ticket.done())

    def test_a_pool_that_can_not_work(self):
        self.text = "status = 1"
        pool = self.pool(1)
        ticket = pool.submit(b"e")
        self.assertTrue(ticket.wait(LIMIT))
        self.assertEqual(ticket.status(), -errno.EOWNERDEAD)
        self.assertEqual(ticket.worker_pid, 0)
        with self.assertRaisesRegex(RuntimeError, "given up"):
            pool.submit(b"e")

    def test_signal_handlers_run_in_waits(self):
        pool = self.pool(1)
        ticket = pool.submit(b"w", notify=True)
        for wait in (ticket.wait, pool.next, lambda: pool.wait_all([ticket])):
            with Alarm(raiser), self.assertRaises(Raised):
                wait()
        pool.close()
        with Alarm(raiser), self.assertRaises(Raised):
            pool.join()
        with Alarm(self.gate.set):
            self.assertIs(pool.next(), ticket)

    def test_dropping_an_open_pool_kills_its_workers(self):
        before = blocks()
        pool = _core.Pool(2, self.start)
        self.assertTrue(pool.submit(b"e").wait(LIMIT))
        pool.submit(b"w")
        del pool
        for child in self.children:
            self.assertTrue(child.wait(LIMIT))
        self.assertEqual(blocks(), before)

    def test_dropping_a_pool_drops_its_news(self):
        before = blocks()
        pool = _core.Pool(1, self.start)
        mark = Index(3)
        ref = weakref.ref(mark)
        pool.submit_many([b"e" + b"x" * 10_000] * 20, True, [mark] * 20, 0, 5)
        pool.submit(b"w", True, mark)
        del mark
        self.assertIsNotNone(ref())
        del pool
        self.assertIsNone(ref())
        self.assertEqual(blocks(), before)

    def test_a_pool_in_a_cycle(self):
        before = blocks()

        class Owner:
            def start(inner, *arguments):
                return self.start(*arguments)

        owner = Owner()
        owner.pool = _core.Pool(1, owner.start)
        owner.ticket = owner.pool.submit(b"e", user=owner)
        self.assertTrue(owner.ticket.wait(LIMIT))
        ref = weakref.ref(owner)
        del owner
        gc.collect()
        self.assertIsNone(ref())
        self.assertTrue(self.children[0].wait(LIMIT))
        self.assertEqual(blocks(), before)

    def test_a_pool_in_a_cycle_with_its_news(self):
        before = blocks()
        for close in (False, True):
            pool = _core.Pool(1, self.start)
            mark = Index(pool)
            ref = weakref.ref(mark)
            pool.submit(b"e" + b"x" * 10_000, notify=True, user=mark).wait(LIMIT)
            pool.submit(b"e", notify=True, user=mark, group=3)
            if close:
                pool.close()
                self.assertTrue(pool.join(LIMIT))
            del pool, mark
            gc.collect()
            self.assertIsNone(ref())
        self.assertEqual(blocks(), before)

    def test_tickets_outlive_the_pool(self):
        pool = _core.Pool(1, self.start)
        done = pool.submit(b"e" + b"x" * 70_000)
        self.assertTrue(done.wait(LIMIT))
        running = pool.submit(b"w")
        del pool
        self.assertTrue(running.wait(0))
        self.assertEqual(running.status(), -errno.ECANCELED)
        self.assertEqual(len(done.result()), 70_000)

    def test_many_threads_submit_and_wait(self):
        pool = self.pool(2)

        def work(base):
            for i in range(200):
                data = b"%d" % (base + i)
                ticket = pool.submit(b"e" + data)
                if not ticket.wait(LIMIT) or ticket.result() != data:
                    failures.append(data)

        failures = []
        for thread in [Thread(work, 1000 * k) for k in range(4)]:
            thread.done()
        self.assertEqual(failures, [])


TASKS = """
handle, gate = arg
import errno
def check(condition, what):
    if not condition:
        raise SystemError(what)
def raises(kind, call):
    try:
        call()
    except kind:
        return True
    return False
seat = _core.Seat(handle)
check(raises(ValueError, lambda: _core.Seat(handle)), "a seat is taken once")
check(raises(TimeoutError, lambda: seat.next(timeout=0.01)), "timeout")
check(raises(TimeoutError, lambda: seat.next(-1)), "negative timeout")
gate.set()

task = seat.next()
check(task.arg == b"small" and type(task.arg) is bytes, "small arg")
check((task.id, task.code) == (1, 77), "id, code")
check(raises(RuntimeError, seat.next), "one task at a time")
check(raises(RuntimeError, lambda: seat.serve(print)), "serve with a task in hand")
task.reply(bytearray(b"reply"))
check(raises(ValueError, lambda: task.reply(b"again")), "one reply")
check(raises(TypeError, lambda: task.reply("text")), "reply type")
task.end(-3)
check(raises(ValueError, task.end), "one end")
check(raises(ValueError, lambda: task.reply(b"")), "reply after end")
check(raises(ValueError, lambda: task.arg), "arg after end")

task = seat.next()
arg = task.arg
check(type(arg) is memoryview and not arg.readonly and len(arg) == 5000, "large arg")
check(task.arg is arg, "one view")
part = arg[10:20]
check(raises(BufferError, task.end), "end with views")
check(bytes(part) == b"x" * 10, "view still there")
part.release()
arg = task.arg
task.reply(arg[:3])
task.end()
check(raises(ValueError, lambda: arg[0]), "view released")
check(raises(BufferError, lambda: memoryview(task)), "no view after end")

del task
task = seat.next()
del task

task = seat.next(timeout=50)
check(task.arg == b"", "empty arg")
task.end(status=0)

def inside(arg):
    check(raises(RuntimeError, seat.next), "next inside serve")
    check(raises(RuntimeError, seat.close), "close inside serve")
    return arg
seat.serve(inside)
check(seat.next() is None, "end")
seat.close()
seat.close()
check(raises(ValueError, seat.next), "closed")
status = 42
"""


class SeatTest(PoolTestCase):
    text = TASKS

    def test_tasks_one_by_one(self):
        pool = self.pool(1)
        self.assertTrue(self.gate.wait(LIMIT))
        first = pool.submit(b"small", code=77)
        self.assertTrue(first.wait(LIMIT))
        self.assertEqual((first.status(), first.result()), (-3, b"reply"))
        second = pool.submit(b"x" * 5000)
        self.assertTrue(second.wait(LIMIT))
        self.assertEqual((second.status(), second.result()), (0, b"xxx"))
        dropped = pool.submit(b"")
        self.assertTrue(dropped.wait(LIMIT))
        self.assertEqual(dropped.status(), -errno.EFAULT)
        empty = pool.submit(b"", False, None, 2**64 - 1)
        self.assertTrue(empty.wait(LIMIT))
        self.assertEqual((empty.status(), empty.result()), (0, b""))
        served = pool.submit(b"served")
        self.assertTrue(served.wait(LIMIT))
        self.assertEqual(served.result(), b"served")
        pool.close()
        self.assertTrue(pool.join(LIMIT))
        self.assertTrue(self.children[0].wait(LIMIT))
        self.assertEqual(self.children[0].exitcode, 42)

    def test_handles(self):
        for handle in (0, 1, 2**64 - 1, _core.Lock().__reduce__()[1][1]):
            with self.subTest(handle=handle), self.assertRaises(ValueError):
                _core.Seat(handle)
        lock = _core.Lock()
        with self.assertRaises(ValueError):
            _core.Seat(lock.__reduce__()[1][1])
        with self.assertRaises(OverflowError):
            _core.Seat(-1)
        with self.assertRaises(TypeError):
            _core.Seat("1")


class FunctionsTest(TestCase):
    def test_cpus(self):
        usable = _core.usable_cpus()
        self.assertEqual(usable, os.sched_getaffinity(0))
        self.assertIs(type(usable), set)
        self.assertTrue(1 <= _core.cpu_count() <= max(len(usable), 1))

    def test_place(self):
        self.assertEqual(_core.place(0, 3), [None] * 3)
        self.assertEqual(_core.place(0, 0), [])
        for policy in (1, 2, 3):
            places = _core.place(policy, 2)
            self.assertEqual(len(places), 2)
            for cpus in places:
                if cpus is not None:
                    self.assertIs(type(cpus), frozenset)
                    self.assertTrue(cpus < _core.usable_cpus())
        for policy, count in ((9, 1), (0, 65537)):
            with self.assertRaises(ValueError):
                _core.place(policy, count)
        with self.assertRaises(TypeError):
            _core.place("1", 1)

    def test_info(self):
        text = _core.info()
        self.assertIn(_core.version(), text)
        self.assertGreater(len(text), 100)
        features = _core.features()
        self.assertIn("io_uring", [feature["name"] for feature in features])
        for feature in features:
            self.assertEqual(set(feature), {"name", "on", "since", "why"})
            self.assertIs(type(feature["on"]), bool)

    def test_arena(self):
        info = _core.arena_info()
        self.assertEqual(set(info), {"size", "used", "blocks", "slots", "generation"})
        self.assertGreater(info["size"], info["used"])
        self.assertGreaterEqual(info["slots"], 1)
        self.assertIsNone(_core.arena_check())

    def test_text(self):
        self.assertRegex(_core.version(), r"^\d+\.\d+\.\d+$")
        self.assertEqual(_core.strerror(errno.EOWNERDEAD), _core.strerror(-errno.EOWNERDEAD))
        self.assertTrue(_core.strerror(0))
        self.assertTrue(_core.strerror(10**6))
        with self.assertRaises(TypeError):
            _core.strerror("x")


if __name__ == "__main__":
    unittest.main()
