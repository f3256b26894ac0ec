#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""RLock, Semaphore, BoundedSemaphore and SimpleQueue between processes, and what
all newer primitives have in common; Condition and Barrier have files of their own."""

import copy
import doctest
import os
import pickle
import queue
import signal
import time
import unittest
import weakref

# The primitives of processes, whatever the program's choice would be.
os.environ["FT_BACKEND"] = "processes"

import freethreading
from freethreading import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    OwnerDiedError,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
    _core,
)
from support import (
    LIMIT,
    Alarm,
    Raised,
    Thread,
    WorkerTestCase,
    blocks,
    in_fork,
    raiser,
    refused,
)

#: How to make one of each kind, and what may be asked of it when it is stale.
MAKERS = {
    "RLock": RLock,
    "Semaphore": Semaphore,
    "BoundedSemaphore": BoundedSemaphore,
    "Condition": Condition,
    "Barrier": lambda: Barrier(2),
    "SimpleQueue": SimpleQueue,
}
#: Blocks that one object has: a Condition has one for its lock too.
BLOCKS = {"Condition": 2}


class CommonTest(WorkerTestCase):
    def test_weak_references(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                thing = make()
                ref = weakref.ref(thing)
                self.assertIs(ref(), thing)
                del thing
                self.assertIsNone(ref())

    def test_copies_are_of_the_same_type(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                thing = make()
                for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                    again = pickle.loads(pickle.dumps(thing, protocol))
                    self.assertIs(type(again), type(thing))
                    self.assertEqual(again.__reduce__()[1][:2], thing.__reduce__()[1][:2])
                self.assertEqual(thing.__reduce__()[1][0], name)

    def test_the_last_one_frees(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                before = blocks()
                first = make()
                data = pickle.dumps(first)
                second = copy.copy(first)
                del first
                self.assertEqual(blocks(), before + BLOCKS.get(name, 1))
                del second
                self.assertEqual(blocks(), before)
                with self.assertRaisesRegex(ValueError, "no longer exists.*keep a reference"):
                    pickle.loads(data)

    def test_no_leak(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                before = blocks()
                for _ in range(10_000):
                    make()
                many = [make() for _ in range(500)]
                self.assertEqual(blocks(), before + 500 * BLOCKS.get(name, 1))
                del many
                self.assertEqual(blocks(), before)
        _core.arena_check()

    def test_subclasses(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                before = blocks()
                base = type(make())
                mine = type("Mine", (base,), {})
                thing = mine(1) if base is Barrier else mine()
                thing.me = thing
                ref = weakref.ref(thing)
                del thing
                self.assertEqual(blocks(), before)
                self.assertIsNone(ref())

    def test_types_are_closed(self):
        for name, make in MAKERS.items():
            with self.subTest(name):
                with self.assertRaises(TypeError):
                    type(make()).colour = "red"
                with self.assertRaises(AttributeError):
                    make().colour = "red"

    def test_arguments(self):
        for kind in (RLock, SimpleQueue):
            with self.assertRaisesRegex(TypeError, "takes no arguments"):
                kind(1)
        semaphore, condition = Semaphore(), Condition()
        for bad in (
            lambda: Semaphore("1"),
            lambda: Semaphore(1, 2),
            lambda: Condition(1, 2),
            lambda: Barrier(),
            lambda: Barrier("2"),
            lambda: Condition().wait("soon"),
            lambda: Condition().notify("one"),
            lambda: Barrier(1).wait("soon"),
            lambda: RLock().acquire(timeout="1"),
            lambda: RLock().acquire(False, "1"),
            lambda: Semaphore().acquire(1, 2, 3),
            lambda: SimpleQueue().put(),
            lambda: SimpleQueue().get(1),
            lambda: _core.attach(*semaphore.__reduce__()[1], Lock()),
            lambda: _core.attach(*condition.__reduce__()[1][:2]),
        ):
            with self.assertRaises(TypeError):
                bad()

    def test_refused_in_a_forked_child(self):
        lock, semaphore, barrier, queue = RLock(), Semaphore(), Barrier(1), SimpleQueue()
        before = blocks()

        def child():
            calls = [lock.acquire, semaphore.acquire, barrier.wait, barrier.abort]
            return refused(*MAKERS.values(), *calls, lambda: queue.put(1), queue.get)

        self.assertEqual(in_fork(child), len(MAKERS) + 6)
        self.assertEqual(blocks(), before)
        with lock, semaphore:
            self.assertEqual(barrier.wait(), 0)

    def test_examples(self):
        finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False)
        for name in MAKERS:
            kind = getattr(freethreading, name)
            self.assertIn(name, freethreading.__all__)
            found = [test for test in finder.find(kind, name, globs={}) if test.examples]
            self.assertEqual(len(found), 1, name)
            self.assertEqual(runner.run(found[0]).failed, 0, name)


# ---- RLock -------------------------------------------------------------------


def hold_twice(lock, held):
    lock.acquire()
    lock.acquire()
    held.set()
    time.sleep(LIMIT)


def try_lock(lock, queue):
    queue.put(lock.acquire(timeout=0.05))
    try:
        lock.release()
    except AssertionError as error:
        queue.put(str(error))


def count(lock, total, times):
    for _ in range(times):
        with lock, lock:
            total.put(total.get() + 1)


class RLockTest(WorkerTestCase):
    message = "attempt to release recursive lock not owned by thread"

    def test_depth(self):
        lock = RLock()
        self.assertRegex(repr(lock), "^<RLock.None, 0.>$")
        with lock as first, lock as second:
            self.assertEqual((first, second), (True, True))
            self.assertIs(lock.acquire(False), True)
            self.assertIs(lock.acquire(timeout=-1), True)
            self.assertRegex(repr(lock), "^<RLock.MainProcess, 4.>$")
            lock.release()
            lock.release()
        with self.assertRaisesRegex(AssertionError, self.message):
            lock.release()
        self.assertRegex(repr(lock), "^<RLock.None, 0.>$")

    def test_another_thread(self):
        lock, found = RLock(), []

        def other():
            found.append(lock.acquire(False))
            found.append(lock.acquire(timeout=0.01))
            found.append(lock.locked())
            found.append(repr(lock))
            with self.assertRaisesRegex(AssertionError, self.message):
                lock.release()

        with lock:
            Thread(other).done()
        self.assertEqual(found, [False, False, True, "<RLock(SomeOtherThread, nonzero)>"])
        self.assertIs(lock.locked(), False)

    def test_another_process(self):
        lock, queue = RLock(), Queue()
        with lock:
            self.start(try_lock, lock, queue).join(LIMIT)
        self.assertEqual(queue.get(timeout=0), False)
        self.assertEqual(queue.get(timeout=0), self.message)

    def test_mutual_exclusion(self):
        lock, total = RLock(), Queue()
        total.put(0)
        workers = [self.start(count, lock, total, 300) for _ in range(3)]
        for worker in workers:
            worker.join(LIMIT)
        self.assertEqual(total.get(timeout=0), 900)

    def test_a_dead_owner_is_told_once(self):
        lock, held = RLock(), Event()
        worker = self.start(hold_twice, lock, held)
        self.assertTrue(held.wait(LIMIT))
        worker.kill()
        with self.assertRaises(OwnerDiedError) as caught:
            lock.acquire(timeout=LIMIT)
        self.assertEqual(caught.exception.pid, worker.pid)
        self.assertIn("is free again", str(caught.exception))
        with self.assertRaisesRegex(AssertionError, self.message):
            lock.release()
        with lock:
            Thread(lambda: self.assertFalse(lock.acquire(False))).done()

    def test_a_thread_that_ends_with_it(self):
        lock = RLock()
        Thread(lock.acquire).done()
        with self.assertRaises(OwnerDiedError) as caught:
            lock.acquire(timeout=LIMIT)
        self.assertEqual(caught.exception.pid, os.getpid())
        self.assertTrue(lock.acquire(timeout=0))

    def test_signals(self):
        lock, held, gate = RLock(), Event(), Event()

        def hold():
            with lock:
                held.set()
                gate.wait(LIMIT)

        thread = Thread(hold)
        held.wait(LIMIT)
        with self.assertRaises(Raised), Alarm(raiser):
            lock.acquire()
        with Alarm(gate.set) as alarm:
            self.assertTrue(lock.acquire())
        self.assertGreaterEqual(alarm.count, 1)
        thread.done()


# ---- Semaphore ---------------------------------------------------------------


def crowd(semaphore, inside, most, times):
    for _ in range(times):
        with semaphore:
            inside.release()
            most.put(inside.get_value())
            inside.acquire()


def take_and_die(semaphore):
    semaphore.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


class SemaphoreTest(WorkerTestCase):
    def test_units(self):
        semaphore = Semaphore(2)
        self.assertEqual(repr(semaphore), "<Semaphore(value=2)>")
        self.assertIs(semaphore.acquire(), True)
        with semaphore as taken:
            self.assertIs(taken, True)
            self.assertEqual((semaphore.get_value(), semaphore.locked()), (0, True))
            for arguments in ((False,), (True, 0), (True, -1), (True, 0.01), (False, 5)):
                self.assertIs(semaphore.acquire(*arguments), False)
        self.assertIsNone(semaphore.release())
        self.assertIsNone(semaphore.release())
        self.assertEqual((semaphore.get_value(), semaphore.locked()), (3, False))

    def test_default_is_one(self):
        for kind in (Semaphore, BoundedSemaphore):
            self.assertEqual(kind().get_value(), 1)
            self.assertEqual(kind(value=3).get_value(), 3)

    def test_initial_values(self):
        for kind in (Semaphore, BoundedSemaphore):
            for value in (-1, -(2**70)):
                with self.assertRaisesRegex(ValueError, ">= 0"):
                    kind(value)
            for value in (2**31, 2**70):
                with self.assertRaisesRegex(ValueError, r"< 2\*\*31"):
                    kind(value)
            self.assertEqual(kind(2**31 - 1).get_value(), 2**31 - 1)

    def test_too_many(self):
        message = "semaphore or lock released too many times"
        for semaphore in (Semaphore(2**31 - 1), BoundedSemaphore(2), BoundedSemaphore(0)):
            before = semaphore.get_value()
            with self.assertRaisesRegex(ValueError, message):
                semaphore.release()
            self.assertEqual(semaphore.get_value(), before)

    def test_bounded(self):
        semaphore = BoundedSemaphore(2)
        self.assertIsInstance(semaphore, Semaphore)
        self.assertEqual(repr(semaphore), "<BoundedSemaphore(value=2, maxvalue=2)>")
        again = pickle.loads(pickle.dumps(semaphore))
        with again, again:
            self.assertFalse(semaphore.acquire(False))
        with self.assertRaises(ValueError):
            again.release()
        self.assertFalse(BoundedSemaphore(0).acquire(timeout=0.01))

    def test_wakes_as_many_as_it_gives(self):
        semaphore, woken = Semaphore(0), Semaphore(0)

        def sleep():
            semaphore.acquire()
            woken.release()

        threads = [Thread(sleep) for _ in range(6)]
        for number in range(6):
            self.assertEqual(woken.get_value(), 0)
            semaphore.release()
            self.assertTrue(woken.acquire(timeout=LIMIT), number)
        for thread in threads:
            thread.done()

    def test_lets_so_many_in(self):
        semaphore, inside, most = Semaphore(2), Semaphore(0), Queue()
        workers = [self.start(crowd, semaphore, inside, most, 100) for _ in range(4)]
        counts = [most.get(timeout=LIMIT) for _ in range(400)]
        for worker in workers:
            worker.join(LIMIT)
        self.assertLessEqual(max(counts), 2)
        self.assertEqual((semaphore.get_value(), inside.get_value()), (2, 0))

    def test_a_dead_workers_unit_stays_away(self):
        semaphore = BoundedSemaphore(1)
        self.start(take_and_die, semaphore).join(LIMIT)
        self.assertFalse(semaphore.acquire(timeout=0.05))
        semaphore.release()
        self.assertTrue(semaphore.acquire(timeout=0))

    def test_signals(self):
        semaphore = Semaphore(0)
        with self.assertRaises(Raised), Alarm(raiser):
            semaphore.acquire()
        with Alarm(semaphore.release) as alarm:
            self.assertTrue(semaphore.acquire())
        self.assertGreaterEqual(alarm.count, 1)

    def test_signals_do_not_stretch_the_timeout(self):
        start = time.monotonic()
        with Alarm(lambda: None) as alarm:
            self.assertFalse(Semaphore(0).acquire(timeout=0.3))
        taken = time.monotonic() - start
        self.assertGreaterEqual(taken, 0.3)
        self.assertLess(taken, 0.3 + LIMIT / 4)
        self.assertGreaterEqual(alarm.count, 1)


# ---- SimpleQueue -------------------------------------------------------------


def fill(queue, number, times):
    for i in range(times):
        queue.put((number, i))


class Unpicklable:
    def __reduce__(self):
        raise Raised


class SimpleQueueTest(WorkerTestCase):
    def test_order_and_emptiness(self):
        queue = SimpleQueue()
        self.assertIs(queue.empty(), True)
        for item in (1, None, "two", [3]):
            self.assertIsNone(queue.put(item))
        queue.put(item=4.0)
        self.assertIs(queue.empty(), False)
        self.assertIn("(5 items)", repr(queue))
        self.assertEqual([queue.get() for _ in range(5)], [1, None, "two", [3], 4.0])
        self.assertIs(queue.empty(), True)

    def test_items_of_any_size(self):
        queue = SimpleQueue()
        sizes = (0, 1, 4000, 5000, 70_000, 3_000_000, 40_000_000)
        for size in sizes:
            queue.put(b"x" * size)
        self.assertEqual([len(queue.get()) for _ in sizes], list(sizes))

    def test_items_that_do_not_travel(self):
        queue = SimpleQueue()
        with self.assertRaises(Raised):
            queue.put(Unpicklable())
        self.assertTrue(queue.empty())

    def test_many_producers(self):
        queue = SimpleQueue()
        workers = [self.start(fill, queue, number, 200) for number in range(3)]
        items = [queue.get() for _ in range(600)]
        for worker in workers:
            worker.join(LIMIT)
        self.assertTrue(queue.empty())
        for number in range(3):
            self.assertEqual([i for who, i in items if who == number], list(range(200)))

    def test_a_put_item_is_there_when_its_worker_has_gone(self):
        queue = SimpleQueue()
        self.start(fill, queue, 1, 1000).join(LIMIT)
        self.assertEqual([queue.get() for _ in range(1000)], [(1, i) for i in range(1000)])

    def test_close_is_for_this_object(self):
        queue = SimpleQueue()
        other = copy.copy(queue)
        queue.put(1)
        queue.close()
        queue.close()
        for use in (lambda: queue.put(2), queue.get, queue.empty):
            with self.assertRaisesRegex(OSError, "SimpleQueue <.*> is closed"):
                use()
        self.assertEqual(other.get(), 1)
        self.assertTrue(other.empty())

    def test_its_items_go_with_it(self):
        before = blocks()
        queue = SimpleQueue()
        for i in range(100):
            queue.put(b"x" * i * 100)
        del queue
        self.assertEqual(blocks(), before)

    def test_carries_primitives(self):
        queue = SimpleQueue()
        semaphore, condition = Semaphore(3), Condition()
        queue.put([semaphore, condition, queue])
        semaphore2, condition2, queue2 = queue.get()
        semaphore2.acquire()
        self.assertEqual(semaphore.get_value(), 2)
        with condition2:
            condition.notify()
        queue2.put(1)
        self.assertEqual(queue.get(), 1)

    def test_signals(self):
        queue = SimpleQueue()
        with self.assertRaises(Raised), Alarm(raiser):
            queue.get()
        with Alarm(lambda: queue.put("from the handler")):
            self.assertEqual(queue.get(), "from the handler")


class Count(int):
    pass


class Word(str):
    pass


class Blob(bytes):
    pass


class ItemsTest(WorkerTestCase):
    """What is sent as it is, and what lies at the border to what is pickled."""

    ITEMS = [
        *(None, True, False, 0, 1, -1, 2**31, 2**62, 2**63 - 1, -(2**63)),
        *(2**63, -(2**63) - 1, 10**400),
        *(0.0, -0.0, 1.5, -1e308, 5e-324, float("inf"), float("-inf")),
        *("", "a", "NTFifbs", "\x00\x7f", "\x80", "\xe9", "\u20ac", "\ud800", "x" * 5000),
        *(b"", b"a", b"\x80\x05N.", bytes(range(256)), bytes(70_000)),
        *(Count(3), Word("N"), Blob(b"T"), (), [1], {"a": b"b"}, bytearray(b"i")),
    ]

    def test_they_come_out_as_they_went_in(self):
        for q in (Queue(), SimpleQueue()):
            before = blocks()
            for item in self.ITEMS:
                q.put(item)
                again = q.get()
                self.assertIs(type(again), type(item))
                self.assertEqual(repr(again), repr(item))
            nan = float("nan")
            q.put(nan)
            self.assertNotEqual(q.get(), nan)
            self.assertEqual(blocks(), before)

    def test_what_cannot_be_put_leaves_nothing(self):
        full = Queue(1)
        full.put(1)
        for q in (full, SimpleQueue()):
            before = blocks()
            with self.assertRaises((AttributeError, pickle.PicklingError)):
                q.put(lambda: None)
            if q is full:
                for item in (1, "text", bytes(70_000), [1]):
                    with self.assertRaises(queue.Full):
                        q.put_nowait(item)
            self.assertEqual(blocks(), before)


if __name__ == "__main__":
    unittest.main()
