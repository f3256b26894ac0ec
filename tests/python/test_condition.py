#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Condition between threads and processes."""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
import unittest
import weakref

# The primitives of processes, whatever the program's choice would be.
os.environ["FT_BACKEND"] = "processes"

from freethreading import Condition, Event, Lock, OwnerDiedError, Queue, RLock, Semaphore
from support import LIMIT, Alarm, Raised, Thread, WorkerTestCase, blocks, eventually, raiser

NOT_MINE = r"must acquire\(\) condition before using wait\(\)"


def sleep_once(condition, ready, woken):
    with condition:
        ready.release()
        condition.wait()
        woken.release()


def answer(pair, queue):
    """Whether the lock and the condition's lock are one here as well."""
    condition, lock = pair
    with condition:
        again = lock.acquire(False)
        queue.put(again)
        if again:
            lock.release()
    with lock:
        condition.notify()
        queue.put("notified")


def hold_until_killed(condition, held):
    with condition:
        condition.notify()
        held.set()
        time.sleep(LIMIT)


def count_to(condition, box, mine, last):
    """Takes turns: waits until the number in the box is its own."""
    while True:
        with condition:
            number = box.get()
            while number % 3 != mine and number < last:
                box.put(number)
                condition.wait()
                number = box.get()
            box.put(number if number >= last else number + 1)
            condition.notify_all()
            if number >= last:
                return


class ConditionTest(WorkerTestCase):
    def sleepers(self, condition, number, start):
        """`number` sleepers, and what counts those that have woken up."""
        ready, woken = Semaphore(0), Semaphore(0)
        made = [start(sleep_once, condition, ready, woken) for _ in range(number)]
        for _ in range(number):
            self.assertTrue(ready.acquire(timeout=LIMIT))
        with condition:
            pass  # The last one to be ready has gone to sleep by now.
        return made, woken

    def test_which_locks(self):
        for lock in (Lock(), RLock(), type("Mine", (Lock,), {})(), None):
            condition = Condition(lock)
            with condition as taken:
                self.assertIs(taken, True)
                self.assertFalse(condition.wait(0))
            self.assertTrue(condition.acquire(False))
            self.assertIsNone(condition.release())
            self.assertIs(condition.locked(), False)
        foreign = [threading.Lock(), threading.RLock(), multiprocessing.Lock(), Semaphore(), 0]
        for lock in foreign:
            with self.assertRaisesRegex(TypeError, "must be a freethreading Lock or RLock, not"):
                Condition(lock)
        self.assertIn("<Condition(<RLock(None, 0)>) at", repr(Condition()))

    def test_the_lock_is_the_lock(self):
        lock = Lock()
        condition, other = Condition(lock), Condition(lock=lock)
        with condition:
            self.assertTrue(lock.locked())
            self.assertIs(other.locked(), True)
            self.assertFalse(other.acquire(blocking=False))
            self.assertFalse(other.acquire(timeout=0.01))
        with lock:
            condition.notify()

    def test_the_lock_must_be_held(self):
        for lock in (Lock(), RLock()):
            condition = Condition(lock)

            def refused():
                with self.assertRaisesRegex(AssertionError, NOT_MINE):
                    condition.wait()
                with self.assertRaisesRegex(AssertionError, NOT_MINE):
                    condition.wait_for(lambda: False)
                for notify in (condition.notify, condition.notify_all):
                    with self.assertRaisesRegex(AssertionError, "lock is not owned"):
                        notify()

            refused()
            with condition:
                Thread(refused).done()
        with self.assertRaises(AssertionError):
            Condition().release()
        with self.assertRaises(ValueError):
            Condition(Lock()).release()

    def test_wakes_exactly_n(self):
        for lock in (Lock(), RLock()):
            condition = Condition(lock)
            threads, woken = self.sleepers(condition, 6, Thread)
            total = 0
            for n in (0, -1, -(2**70), 1, 2, 2**70):
                total += max(0, min(n, 6 - total))
                with condition:
                    condition.notify(n)
                self.assertTrue(eventually(lambda: woken.get_value() >= total))
                self.assertEqual(woken.get_value(), total, n)
            for thread in threads:
                thread.done()

    def test_a_notification_is_not_kept(self):
        condition = Condition()
        with condition:
            condition.notify(3)
            condition.notify_all()
            self.assertIs(condition.wait(0.01), False)

    def test_in_turn(self):
        condition, box = Condition(), Queue()
        box.put(0)
        workers = [self.start(count_to, condition, box, mine, 60) for mine in range(3)]
        for worker in workers:
            worker.join(LIMIT)
            self.assertEqual(worker.exitcode, 0)
        self.assertEqual(box.get(timeout=0), 60)

    def test_any_depth(self):
        lock = RLock()
        condition, found = Condition(lock), []

        def other():
            with lock:
                found.append("in")
                condition.notify()

        with lock, lock, condition:
            thread = Thread(other)
            self.assertIs(condition.wait(LIMIT), True)
            self.assertEqual(found, ["in"])
            self.assertIn("<RLock(MainProcess, 3)>", repr(lock))
            thread.done()
        self.assertTrue(lock.acquire(False))
        lock.release()
        with self.assertRaises(AssertionError):
            lock.release()

    def test_timeouts(self):
        condition = Condition()
        with condition:
            for timeout in (0, -1, -0.5, 0.05):
                start = time.monotonic()
                self.assertIs(condition.wait(timeout), False)
                self.assertGreaterEqual(time.monotonic() - start, timeout)
            with self.assertRaises(ValueError):
                condition.wait(float("nan"))

    def test_travels_with_its_lock(self):
        for lock in (Lock(), RLock()):
            condition, queue = Condition(lock), Queue()
            with condition:
                worker = self.start(answer, (condition, lock), queue)
                self.assertIs(condition.wait(LIMIT), True)
            worker.join(LIMIT)
            held = isinstance(lock, RLock().__class__)
            self.assertEqual([queue.get(timeout=0) for _ in "12"], [held, "notified"])

    def test_copies_are_one_pair(self):
        lock = RLock()
        condition = Condition(lock)
        condition2, lock2 = pickle.loads(pickle.dumps((condition, lock)))
        lock3 = copy.copy(lock)
        with condition2, lock2, lock3:
            self.assertIn(", 3)>", repr(lock))
            condition.notify()

    def test_dropped_with_its_lock(self):
        before = blocks()
        lock = Lock()
        condition = Condition(lock)
        del lock
        self.assertEqual(blocks(), before + 2)
        with condition:
            pass
        del condition
        self.assertEqual(blocks(), before)

    def test_cycle_through_the_lock(self):
        class Mine(Lock().__class__):
            pass

        before, lock = blocks(), Mine()
        lock.condition = Condition(lock)
        ref = weakref.ref(lock.condition)
        del lock
        gc.collect()
        self.assertIsNone(ref())
        self.assertEqual(blocks(), before)

    # ---- wait_for ----

    def test_wait_for(self):
        condition, answers = Condition(), []

        def predicate():
            answers.append(len(answers))
            return answers[-1] if answers[-1] > 2 else 0

        def notify():
            while len(answers) < 4:
                with condition:
                    condition.notify()

        with condition:
            thread = Thread(notify)
            self.assertEqual(condition.wait_for(predicate), 3)
        thread.done()

    def test_wait_for_what_is_true(self):
        self.assertEqual(Condition().wait_for(lambda: "held or not"), "held or not")

    def test_wait_for_in_time(self):
        condition, calls = Condition(), []
        with condition:
            for timeout, expected in ((0, 1), (-1, 1), (0.05, 2)):
                calls.clear()
                self.assertEqual(condition.wait_for(lambda: calls.append(1) or [], timeout), [])
                self.assertEqual(len(calls), expected, timeout)
            with self.assertRaises(Raised):
                condition.wait_for(raiser, 1)
            with self.assertRaises(TypeError):
                condition.wait_for(None)
        with self.assertRaises(AssertionError):
            condition.release()

    def test_wait_for_has_one_timeout(self):
        """Notifications that change nothing do not make it longer."""
        condition, over = Condition(), Event()

        def disturb():
            while not over.is_set():
                with condition:
                    condition.notify()

        thread = Thread(disturb)
        start = time.monotonic()
        with condition:
            self.assertFalse(condition.wait_for(lambda: False, 0.2))
        self.assertLess(time.monotonic() - start, LIMIT / 4)
        over.set()
        thread.done()

    # ---- signals ----

    def test_a_handler_that_raises(self):
        for lock in (Lock(), RLock()):
            condition = Condition(lock)
            with condition:
                with self.assertRaises(Raised), Alarm(raiser):
                    condition.wait()
                self.assertFalse(condition.wait(0))  # still held, and nobody's turn

    def test_a_handler_that_notifies(self):
        condition = Condition()

        def handler():
            with condition:
                condition.notify()

        with condition, Alarm(handler) as alarm:
            self.assertTrue(condition.wait())
        self.assertGreaterEqual(alarm.count, 1)

    def test_a_handler_that_waits(self):
        """What ends its wait goes on, and ends the one that it interrupted."""
        condition, inside = Condition(), []

        def handler():
            with condition:
                if inside:
                    raise Raised
                inside.append(True)
                condition.wait()

        with condition:
            with self.assertRaises(Raised), Alarm(handler):
                condition.wait()
            self.assertFalse(condition.wait(0))

    def test_signals_do_not_stretch_the_timeout(self):
        condition, start = Condition(), time.monotonic()
        with condition, Alarm(lambda: None) as alarm:
            self.assertFalse(condition.wait(0.3))
        taken = time.monotonic() - start
        self.assertGreaterEqual(taken, 0.3)
        self.assertLess(taken, 0.3 + LIMIT / 4)
        self.assertGreaterEqual(alarm.count, 1)

    def test_a_notification_is_passed_on(self):
        """Who is notified, but leaves because of a signal, wakes the next."""
        condition, threads = Condition(), []

        def handler(*_):
            signal.setitimer(signal.ITIMER_REAL, 0)
            threads.append(self.sleepers(condition, 1, Thread))
            with condition:
                condition.notify()  # for the one interrupted here, who came first
            raise Raised

        before = signal.signal(signal.SIGALRM, handler)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        with condition, self.assertRaises(Raised):
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            condition.wait()
        ((sleeper,), woken) = threads[0]
        self.assertTrue(woken.acquire(timeout=LIMIT))
        sleeper.done()

    # ---- deaths ----

    def test_a_dead_sleeper_takes_no_notification(self):
        condition = Condition()
        workers, woken = self.sleepers(condition, 1, self.start)
        threads, woken = self.sleepers(condition, 1, Thread)
        workers[0].kill()
        workers[0].join(LIMIT)
        with condition:
            condition.notify()
        self.assertTrue(woken.acquire(timeout=LIMIT))
        threads[0].done()

    def test_the_owner_dies_during_a_wait(self):
        for lock in (Lock(), RLock()):
            condition, held = Condition(lock), Event()
            with self.assertRaises(OwnerDiedError) as caught, condition:
                worker = self.start(hold_until_killed, condition, held)
                killer = Thread(self.kill_later, worker, held)
                condition.wait(LIMIT)
            killer.done()
            self.assertEqual(caught.exception.pid, worker.pid)
            self.assertIn("held by the caller again", str(caught.exception))
            # The with block has released it, as after any exception.
            self.assertTrue(condition.acquire(timeout=0))
            self.assertFalse(condition.wait(0))
            condition.release()

    @staticmethod
    def kill_later(worker, held):
        held.wait(LIMIT)
        os.kill(worker.pid, signal.SIGKILL)

    def test_the_owner_dies_and_a_handler_raises(self):
        condition, held = Condition(), Event()

        def handler():
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.kill(worker.pid, signal.SIGKILL)
            raise Raised

        with self.assertRaises(Raised) as caught, condition:
            worker = self.start(hold_until_killed, condition, held)
            before = signal.signal(signal.SIGALRM, lambda *_: handler())
            self.addCleanup(signal.signal, signal.SIGALRM, before)
            arm = Thread(self.alarm_when, held)
            condition.wait()
        arm.done()
        self.assertIsInstance(caught.exception.__context__, OwnerDiedError)
        self.assertEqual(caught.exception.__context__.pid, worker.pid)

    @staticmethod
    def alarm_when(held):
        held.wait(LIMIT)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.02)


if __name__ == "__main__":
    unittest.main()
