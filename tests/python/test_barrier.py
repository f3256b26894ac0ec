#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Barrier between threads and processes."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
import unittest
import weakref
from threading import BrokenBarrierError

# The primitives of processes, whatever the program's choice would be.
os.environ["FT_BACKEND"] = "processes"

from freethreading import Barrier, Event, Queue, Semaphore
from support import LIMIT, Alarm, Raised, Thread, WorkerTestCase, blocks, eventually, raiser


class Action:
    """Counts its calls, and notes who was waiting at the time."""

    def __init__(self, queue):
        self.queue = queue
        self.calls = Semaphore(0)

    def __call__(self):
        self.calls.release()
        self.queue.put(("action", os.getpid()))


class Team:
    """Holds a barrier whose action is a method of itself."""

    def __init__(self, parties):
        self.done = Semaphore(0)
        self.barrier = Barrier(parties, action=self.finish)

    def finish(self):
        self.done.release()

    def wait(self):
        self.barrier.wait()


class DieInAction:
    def __call__(self):
        os.kill(os.getpid(), signal.SIGKILL)


def pass_through(barrier, queue, rounds):
    for number in range(rounds):
        queue.put((number, barrier.wait()))


def wait_and_tell(barrier, queue, timeout=None):
    try:
        queue.put(barrier.wait(timeout))
    except BrokenBarrierError:
        queue.put("broken")


class BarrierTest(WorkerTestCase):
    def arrived(self, barrier, number):
        self.assertTrue(eventually(lambda: barrier.n_waiting == number))

    def test_alone(self):
        barrier = Barrier(1)
        self.assertEqual([barrier.wait(), barrier.wait(0), barrier.wait(timeout=-1)], [0, 0, 0])
        self.assertEqual((barrier.parties, barrier.n_waiting, barrier.broken), (1, 0, False))

    def test_parties(self):
        for parties in (0, -1, 2**31, 2**40):
            with self.assertRaisesRegex(ValueError, "parties must be"):
                Barrier(parties)
        with self.assertRaises(AttributeError):
            Barrier(2).parties = 3

    def test_indices(self):
        barrier, queue = Barrier(3), Queue()
        workers = [self.start(pass_through, barrier, queue, 50) for _ in range(3)]
        rounds = {}
        for _ in range(150):
            number, index = queue.get(timeout=LIMIT)
            rounds.setdefault(number, []).append(index)
        for worker in workers:
            worker.join(LIMIT)
        self.assertEqual(rounds.keys(), set(range(50)))
        for number, indices in rounds.items():
            self.assertEqual(sorted(indices), [0, 1, 2], number)

    def test_repr(self):
        barrier = Barrier(2)
        self.assertRegex(repr(barrier), r"^<freethreading.Barrier at 0x\w+: waiters=0/2>$")
        barrier.abort()
        self.assertRegex(repr(barrier), r"^<freethreading.Barrier at 0x\w+: broken>$")

    # ---- the action ----

    def test_action_is_run_once_before_anybody_goes(self):
        queue = Queue()
        barrier = Barrier(3, Action(queue))
        workers = [self.start(pass_through, barrier, queue, 1) for _ in range(3)]
        items = [queue.get(timeout=LIMIT) for _ in range(4)]
        for worker in workers:
            worker.join(LIMIT)
        self.assertEqual(items[0][0], "action")
        self.assertIn(items[0][1], [worker.pid for worker in workers])
        self.assertEqual(sorted(index for _, index in items[1:]), [0, 1, 2])

    def test_action_that_raises(self):
        barrier, queue = Barrier(2, action=raiser), Queue()
        worker = self.start(wait_and_tell, barrier, queue)
        self.arrived(barrier, 1)
        with self.assertRaises(Raised):
            barrier.wait()
        self.assertEqual(queue.get(timeout=LIMIT), "broken")
        self.assertTrue(barrier.broken)
        worker.join(LIMIT)
        barrier.reset()
        self.assertFalse(barrier.broken)

    def test_action_sees_everybody_wait(self):
        seen = []
        barrier = Barrier(2, action=lambda: seen.append((barrier.n_waiting, barrier.broken)))
        thread = Thread(barrier.wait)
        barrier.wait()
        thread.done()
        self.assertEqual(seen, [(2, False)])

    def test_action_that_aborts(self):
        barrier = Barrier(1, action=lambda: barrier.abort())
        with self.assertRaises(BrokenBarrierError):
            barrier.wait()

    def test_action_must_be_callable(self):
        with self.assertRaisesRegex(TypeError, "callable or None, not int"):
            Barrier(1, action=3)
        with self.assertRaises(TypeError):
            Barrier(1, timeout="soon")
        with self.assertRaises(ValueError):
            Barrier(1, timeout=float("nan"))

    def test_action_must_be_picklable_to_travel(self):
        with self.assertRaises((AttributeError, pickle.PicklingError)):
            pickle.dumps(Barrier(1, action=lambda: None))

    def test_who_is_late_for_a_long_action_waits_for_the_next_round(self):
        gate, inside = Event(), Event()

        def action():
            inside.set()
            gate.wait(LIMIT)

        barrier = Barrier(1, action)
        first = Thread(barrier.wait)
        inside.wait(LIMIT)
        with self.assertRaises(Raised), Alarm(raiser):
            barrier.wait()
        late = Thread(barrier.wait, 0.01)
        gate.set()
        first.done()
        late.done()
        self.assertFalse(barrier.broken)

    # ---- time, breaking and mending ----

    def test_timeouts(self):
        for default, timeout in ((None, 0.05), (0.05, None), (60, 0.05), (None, 0), (None, -1)):
            barrier = Barrier(2, timeout=default)
            start = time.monotonic()
            with self.assertRaises(BrokenBarrierError):
                barrier.wait(timeout)
            taken = time.monotonic() - start
            self.assertGreaterEqual(taken, default if timeout is None else timeout)
            self.assertTrue(barrier.broken)
            with self.assertRaises(BrokenBarrierError):
                barrier.wait()
            barrier.reset()
            self.assertEqual((barrier.broken, barrier.n_waiting), (False, 0))

    def test_who_gives_up_breaks_it_for_others(self):
        barrier, queue = Barrier(3), Queue()
        worker = self.start(wait_and_tell, barrier, queue)
        self.arrived(barrier, 1)
        with self.assertRaises(BrokenBarrierError):
            barrier.wait(0.01)
        self.assertEqual(queue.get(timeout=LIMIT), "broken")
        worker.join(LIMIT)

    def test_abort_and_reset(self):
        for end in ("abort", "reset"):
            barrier, queue = Barrier(3), Queue()
            worker = self.start(wait_and_tell, barrier, queue)
            thread = Thread(wait_and_tell, barrier, queue)
            self.arrived(barrier, 2)
            getattr(barrier, end)()
            self.assertEqual([queue.get(timeout=LIMIT) for _ in "12"], ["broken", "broken"])
            self.assertEqual(barrier.broken, end == "abort")
            worker.join(LIMIT)
            thread.done()
            barrier.reset()
            threads = [Thread(barrier.wait) for _ in "12"]
            barrier.wait()
            for thread in threads:
                thread.done()

    # ---- signals and deaths ----

    def test_a_handler_that_raises(self):
        """As if the caller had not come."""
        barrier = Barrier(2)
        with self.assertRaises(Raised), Alarm(raiser):
            barrier.wait()
        self.assertEqual((barrier.broken, barrier.n_waiting), (False, 0))
        thread = Thread(barrier.wait)
        barrier.wait()
        thread.done()

    def test_a_handler_that_completes_it(self):
        barrier, threads = Barrier(2), []

        def handler():
            if not threads:
                threads.append(Thread(barrier.wait))

        with Alarm(handler) as alarm:
            barrier.wait()
        self.assertGreaterEqual(alarm.count, 1)
        threads[0].done()

    def test_signals_do_not_stretch_the_timeout(self):
        start = time.monotonic()
        with self.assertRaises(BrokenBarrierError), Alarm(lambda: None):
            Barrier(2).wait(0.3)
        self.assertLess(time.monotonic() - start, 0.3 + LIMIT / 4)

    def test_a_party_that_dies_breaks_it(self):
        barrier, queue = Barrier(3), Queue()
        worker = self.start(wait_and_tell, barrier, queue)
        thread = Thread(wait_and_tell, barrier, queue)
        self.arrived(barrier, 2)
        worker.kill()
        thread.done()
        self.assertEqual(queue.get(timeout=0), "broken")
        self.assertTrue(barrier.broken)

    def test_a_leader_that_dies_breaks_it(self):
        barrier, queue = Barrier(2, DieInAction()), Queue()
        thread = Thread(wait_and_tell, barrier, queue)
        self.arrived(barrier, 1)
        self.start(wait_and_tell, barrier, queue).join(LIMIT)
        thread.done()
        self.assertEqual(queue.get(timeout=0), "broken")
        self.assertTrue(barrier.broken)

    # ---- copies ----

    def test_copies_have_the_timeout(self):
        barrier = Barrier(2, None, 0.01)
        again = copy.copy(pickle.loads(pickle.dumps(barrier)))
        with self.assertRaises(BrokenBarrierError):
            again.wait()
        self.assertTrue(barrier.broken)
        for state in (None, (), (None,), (1, None), (None, "soon")):
            with self.assertRaises((TypeError, ValueError)):
                again.__setstate__(state)
        with self.assertRaisesRegex(ValueError, "already"):
            again.__setstate__((None, None))

    def test_action_of_what_holds_it(self):
        team = Team(2)
        for target, args in (
            (Barrier.wait, (team.barrier,)),
            (team.barrier.wait, ()),
            (team.wait, ()),
        ):
            worker = self.start(target, *args)
            team.barrier.wait(LIMIT)
            worker.join(LIMIT)
            self.assertEqual(worker.exitcode, 0)
        self.assertEqual(team.done.get_value(), 3)

    def test_cycle_through_the_action(self):
        before, team = blocks(), Team(2)
        ref = weakref.ref(team.barrier)
        del team
        gc.collect()
        self.assertIsNone(ref())
        self.assertEqual(blocks(), before)

    def test_dropped_by_many_threads(self):
        before = blocks()

        def churn():
            for _ in range(300):
                Barrier(1, threading.get_ident).wait()

        for thread in [Thread(churn) for _ in range(4)]:
            thread.done()
        self.assertEqual(blocks(), before)


if __name__ == "__main__":
    unittest.main()
