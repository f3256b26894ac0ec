#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The primitives between threads under load: many threads, the collector, signal
handlers and finalizers in the middle of things, Ctrl-C."""

import gc
import queue
import signal
import threading
import unittest
import weakref

from freethreading import _core
from support import Alarm, Raised, TestCase, Thread, eventually, in_fork, raiser

threads = _core.threads

ITEMS = 3000
QUEUES = {
    "Queue": threads.Queue,
    "Queue(1)": lambda: threads.Queue(1),
    "Queue(7)": lambda: threads.Queue(7),
    "SimpleQueue": threads.SimpleQueue,
}


class Node:
    """Something that weak references and cycles may go through."""


class QueuesTest(TestCase):
    def test_many_to_many(self):
        for name, make in QUEUES.items():
            with self.subTest(name):
                self.many_to_many(make(), 3, 3)

    def many_to_many(self, q, producers, consumers):
        got = [[] for _ in range(consumers)]

        def produce(me):
            for i in range(ITEMS // producers):
                q.put((me, i))

        def consume(mine):
            for item in iter(q.get, None):
                mine.append(item)

        eaters = [Thread(consume, mine) for mine in got]
        for maker in [Thread(produce, i) for i in range(producers)]:
            maker.done()
        for _ in eaters:
            q.put(None)
        for eater in eaters:
            eater.done()
        everything = sorted(item for mine in got for item in mine)
        wanted = [(i, j) for i in range(producers) for j in range(ITEMS // producers)]
        self.assertEqual(everything, wanted)
        for mine in got:
            for producer in range(producers):
                order = [i for who, i in mine if who == producer]
                self.assertEqual(order, sorted(order))
        self.assertTrue(q.empty())

    def test_those_who_only_try(self):
        for name, make in QUEUES.items():
            with self.subTest(name):
                q, got, over = make(), [], threading.Event()

                def consume():
                    while not over.is_set() or not q.empty():
                        try:
                            got.append(q.get(timeout=0.0001))
                        except queue.Empty:
                            pass

                eaters = [Thread(consume) for _ in range(3)]
                for i in range(ITEMS // 3):
                    q.put(i)
                over.set()
                for eater in eaters:
                    eater.done()
                self.assertEqual(sorted(got), list(range(ITEMS // 3)))

    def test_join(self):
        q, done = threads.Queue(), []

        def work():
            for item in iter(q.get, None):
                done.append(item)
                q.task_done()

        workers = [Thread(work) for _ in range(2)]
        for start in range(0, 300, 30):
            for i in range(start, start + 30):
                q.put(i)
            q.join()
            self.assertEqual(len(done), start + 30)
        for _ in workers:
            q.put(None)
        for worker in workers:
            worker.done()

    def test_a_put_wakes_one_who_waits_long(self):
        for name, make in QUEUES.items():
            with self.subTest(name):
                q, got = make(), []
                waiters = [Thread(lambda: got.append(q.get())) for _ in range(4)]
                for i in range(4):
                    q.put(i)
                for waiter in waiters:
                    waiter.done()
                self.assertEqual(sorted(got), [0, 1, 2, 3])


class CollectorTest(TestCase):
    def test_cycles_through_a_queue(self):
        for name, make in QUEUES.items():
            with self.subTest(name):
                node, q = Node(), make()
                node.q, ref = q, weakref.ref(node)
                q.put(node)
                del node, q
                gc.collect()
                self.assertIsNone(ref())

    def test_many_items_in_cycles(self):
        q, refs = threads.SimpleQueue(), []
        for _ in range(500):
            node = Node()
            node.q = q
            refs.append(weakref.ref(node))
            q.put(node)
        for _ in range(100):
            q.get()
        del node, q
        gc.collect()
        self.assertEqual([ref for ref in refs if ref()], [])

    def test_items_live_as_long_as_they_are_in(self):
        for make in QUEUES.values():
            q, node = make(), Node()
            ref = weakref.ref(node)
            q.put(node)
            del node
            gc.collect()
            self.assertIsNotNone(ref())
            q.get()
            self.assertIsNone(ref())

    def test_collections_during_everything(self):
        q, over = threads.Queue(3), threading.Event()

        def collect():
            while not over.is_set():
                gc.collect()

        collector = Thread(collect)

        def produce():
            for _ in range(300):
                node = Node()
                node.me, node.q = node, q
                q.put(node)

        def consume():
            for _ in range(300):
                self.assertIs(q.get().q, q)

        for thread in [Thread(f) for f in (produce, consume, produce, consume)]:
            thread.done()
        over.set()
        collector.done()


class InterruptionTest(TestCase):
    """Signal handlers and finalizers run in the middle of calls."""

    def waits(self):
        """Each kind of wait, and what ends it."""
        lock, rlock, units = threads.Lock(), threads.RLock(), threads.Semaphore(0)
        event, changed, meeting = threads.Event(), threads.Condition(), threads.Barrier(2)
        items, simple, full = threads.Queue(), threads.SimpleQueue(), threads.Queue(1)
        full.put(0)
        lock.acquire()
        holder = Thread(rlock.acquire)
        holder.done()

        # What ends a wait is done again, as long as who has waited has not gone.
        def free():
            if lock.locked():
                lock.release()

        def take():
            if full.qsize():
                full.get()

        def wait():
            with changed:
                return changed.wait(20)

        def notify():
            with changed:
                changed.notify_all()

        def meet():
            # Who has been met already, and only has not ended yet, meets no other.
            if meeting.n_waiting:
                Thread(meeting.wait).done()

        joined = threads.Queue()
        joined.put(1)
        return {
            "Lock": (lock.acquire, free),
            "RLock": (lambda: rlock.acquire(timeout=0.2), lambda: None),
            "Semaphore": (units.acquire, units.release),
            "Event": (event.wait, event.set),
            "Condition": (wait, notify),
            "Barrier": (meeting.wait, meet),
            "get": (items.get, lambda: items.put(1)),
            "simple get": (simple.get, lambda: simple.put(1)),
            "put": (lambda: full.put(1), take),
            "join": (joined.join, joined.task_done),
        }

    def test_handlers_that_raise_end_a_wait(self):
        for name, (wait, _) in self.waits().items():
            if name == "RLock":
                continue
            with self.subTest(name), self.assertRaises(Raised), Alarm(raiser):
                wait()

    def test_after_that_all_goes_on(self):
        for name, (wait, end) in self.waits().items():
            if name in ("RLock", "join"):
                continue
            with self.subTest(name):
                with self.assertRaises(Raised), Alarm(raiser):
                    wait()
                other = Thread(wait)
                while other.is_alive():
                    end()
                    other.join(0.01)
                other.done()

    def test_keyboard_interrupt(self):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        for name, (wait, _) in self.waits().items():
            if name == "RLock":
                continue
            with self.subTest(name), self.assertRaises(KeyboardInterrupt):
                with Alarm(lambda: signal.raise_signal(signal.SIGINT)):
                    wait()

    def test_a_storm_ends_no_wait_and_loses_none(self):
        """A thousand signals a second."""
        for name, (wait, end) in self.waits().items():
            with self.subTest(name):
                count = [0]

                def handler(*_):
                    count[0] += 1
                    if count[0] == 30:
                        ends.append(Thread(end))

                ends = []
                before = signal.signal(signal.SIGALRM, handler)
                signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
                try:
                    wait()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    signal.signal(signal.SIGALRM, before)
                for thread in ends:
                    thread.done()
                if name != "RLock":
                    self.assertGreaterEqual(count[0], 30)

    def test_an_event_in_a_handler_that_interrupts_it(self):
        event = threads.Event()

        def handler():
            event.set()
            event.is_set()
            event.clear()

        with Alarm(handler) as alarm:
            while alarm.count < 5:
                event.set()
                event.is_set()
                event.clear()
                event.wait(0.001)

    def test_puts_in_a_handler_that_interrupts_them(self):
        q, sent = threads.SimpleQueue(), [0]

        def handler():
            q.put("signal")
            sent[0] += 1

        got = []
        with Alarm(handler) as alarm:
            while alarm.count < 5:
                q.put("main")
                got.append(q.get())
        while not q.empty():
            got.append(q.get())
        self.assertEqual(got.count("signal"), sent[0])

    def test_puts_in_finalizers(self):
        for make in (threads.SimpleQueue, threads.Queue):
            q, count = make(), 200

            class Last:
                def __del__(self):
                    q.put("last words")

            for _ in range(count):
                cycle = [Last()]
                cycle.append(cycle)
                q.put(cycle)
                del cycle
                q.get()
            gc.collect()
            self.assertTrue(eventually(lambda: q.qsize() == count))


class PrimitivesTest(TestCase):
    def test_mutual_exclusion(self):
        for make in (threads.Lock, threads.RLock, threads.Condition, threads.Semaphore):
            with self.subTest(make.__name__):
                lock, inside, total = make(), [0], [0]

                def work():
                    for _ in range(1000):
                        with lock:
                            inside[0] += 1
                            assert inside[0] == 1
                            total[0] += 1
                            inside[0] -= 1

                for thread in [Thread(work) for _ in range(4)]:
                    thread.done()
                self.assertEqual(total[0], 4000)

    def test_units_are_neither_lost_nor_made(self):
        units = threads.BoundedSemaphore(3)

        def work():
            for i in range(500):
                if units.acquire(True, 0.0001 if i % 3 else None):
                    units.release()

        for thread in [Thread(work) for _ in range(6)]:
            thread.done()
        self.assertEqual(units.get_value(), 3)

    def test_barrier_rounds(self):
        barrier, rounds = threads.Barrier(4), [[] for _ in range(50)]

        def work():
            for mine in rounds:
                mine.append(barrier.wait())

        for thread in [Thread(work) for _ in range(4)]:
            thread.done()
        for mine in rounds:
            self.assertEqual(sorted(mine), [0, 1, 2, 3])

    def test_each_notification_wakes_one(self):
        changed, ready, woken = threads.Condition(threads.Lock()), [0], [0]

        def wait():
            with changed:
                ready[0] += 1
                changed.wait()
                woken[0] += 1

        waiters = [Thread(wait) for _ in range(8)]
        self.assertTrue(eventually(lambda: ready[0] == 8))
        for count in (1, 2, 5):
            before = woken[0]
            with changed:
                changed.notify(count)
            self.assertTrue(eventually(lambda: woken[0] == before + count))
        for waiter in waiters:
            waiter.done()

    def test_a_fork_holds_what_its_thread_held(self):
        lock = threads.RLock()

        def child():
            lock.release()
            lock.release()
            return 0 if lock.acquire(False) else 1

        with lock, lock:
            self.assertEqual(in_fork(child), 0)


if __name__ == "__main__":
    unittest.main()
