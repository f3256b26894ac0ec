# SPDX-License-Identifier: MIT
"""freethreading.WorkerPool, as the API text and multiprocessing.pool say."""

import gc
import itertools
import multiprocessing
import operator
import os
import signal
import sys
import threading
import time
import traceback
import unittest
from concurrent.futures import BrokenExecutor
from multiprocessing.pool import MaybeEncodingError

import freethreading
from freethreading import Event, Queue, WorkerDiedError, WorkerPool
from support import LIMIT, TestCase, eventually, no_spares


def square(x):
    return x * x


def add(x, y=0, *, z=0):
    return x + y + z


def meet(barrier):
    barrier.wait(LIMIT)
    return freethreading.current_worker().ident


def fail_on(x, bad):
    if x == bad:
        raise KeyError(f"no {x}")
    return x


def fail_on_three(x):
    return fail_on(x, 3)


def die(signo=signal.SIGKILL):
    os.kill(os.getpid(), signo)
    time.sleep(LIMIT)


def die_often(queue, times):
    """Dies in as many of its runs, which count themselves in the queue."""
    queue.put(1)
    if queue.qsize() <= times:
        die()
    return "alive"


def leave(status):
    os._exit(status)


def die_on_three(x):
    if x == 3:
        die()
    return x


def wait_for(event):
    event.wait()
    return "done"


def lambda_result():
    return lambda: None


class Picky(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def raise_picky():
    raise Picky(1, 2)


def raise_unpicklable():
    error = ValueError("unsendable")
    error.extra = lambda: None
    raise error


def raise_this(error):
    raise error


_state = None


def initialise(value):
    global _state
    _state = value


def get_state():
    return _state


def bad_initializer():
    raise OSError("no such luck")


def deadly_initializer(how):
    if how < 0:
        os.kill(os.getpid(), -how)
    os._exit(how)


def inner_pool(n):
    with WorkerPool(2) as pool:
        return pool.map(square, range(n))


def echo(data):
    return data


class PoolTest(TestCase):
    def setUp(self):
        self.pool = WorkerPool(2)
        self.addCleanup(self.pool.terminate)

    def test_calls(self):
        pool = self.pool
        self.assertEqual(pool.apply(add, (1, 2), {"z": 3}), 6)
        self.assertEqual(pool.apply_async(add, (1,)).get(LIMIT), 1)
        self.assertEqual(pool.map(square, range(100)), [x * x for x in range(100)])
        self.assertEqual(pool.map(square, range(10), 3), [x * x for x in range(10)])
        self.assertEqual(pool.map(square, []), [])
        self.assertEqual(pool.starmap(add, [(1, 2), (3, 4)]), [3, 7])
        self.assertEqual(pool.map_async(square, iter(range(5))).get(LIMIT), [0, 1, 4, 9, 16])
        self.assertEqual(pool.starmap_async(add, [(1,)]).get(LIMIT), [1])
        self.assertEqual(list(pool.imap(square, range(50))), [x * x for x in range(50)])
        self.assertEqual(list(pool.imap(square, range(50), 7)), [x * x for x in range(50)])
        self.assertEqual(
            sorted(pool.imap_unordered(square, range(50), 4)), [x * x for x in range(50)]
        )

    def test_workers_are_our_children_and_both_work(self):
        barrier = freethreading.Barrier(2)
        idents = set(self.pool.map(meet, [barrier] * 2, 1))
        self.assertEqual(len(idents), 2)
        children = {w.ident for w in freethreading.active_children()}
        self.assertLessEqual(idents, children)

    def test_map_of_ranges(self):
        for numbers in (
            range(0),
            range(10, 0, -3),
            range(2**62, 2**62 + 3),
            range(2**63 - 1, -(2**63), -(2**62)),
            range(2**70, 2**70 + 3),
        ):
            self.assertEqual(self.pool.map(echo, numbers, 2), list(numbers))

    def test_errors(self):
        try:
            self.pool.apply(fail_on, (1, 1))
        except KeyError:
            shown = traceback.format_exc()
        self.assertIn("in fail_on", shown)
        with self.assertRaises(KeyError):
            self.pool.map(fail_on_three, range(10))
        result = self.pool.apply_async(fail_on, (1, 1))
        result.wait(LIMIT)
        self.assertTrue(result.ready())
        self.assertFalse(result.successful())

    def test_what_cant_be_pickled(self):
        pool = self.pool
        for call in (
            lambda: pool.apply(lambda: None),
            lambda: pool.apply(square, (lambda: None,)),
            lambda: pool.apply_async(square, (), {"x": lambda: None}),
            lambda: pool.map(lambda x: x, [1]),
            lambda: pool.map(lambda x: x, []),
            lambda: pool.imap(lambda x: x, [1]),
            lambda: pool.imap_unordered(lambda x: x, [1]),
            lambda: pool.starmap(lambda x: x, [(1,)]),
            lambda: WorkerPool(1, initializer=lambda: None),
        ):
            with self.assertRaisesRegex(ValueError, "can't be pickled"):
                call()
        self.assertEqual(pool.apply(square, (3,)), 9)

    def test_errors_that_end_programs(self):
        for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
            with self.assertRaises(type(error)):
                self.pool.apply(raise_this, (error,))
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_async_results(self):
        event = Event()
        result = self.pool.apply_async(wait_for, (event,))
        self.assertFalse(result.ready())
        with self.assertRaises(ValueError):
            result.successful()
        with self.assertRaises(multiprocessing.TimeoutError):
            result.get(0.01)
        event.set()
        self.assertEqual(result.get(LIMIT), "done")
        self.assertTrue(result.successful())

    def test_callbacks(self):
        seen, errors = [], []
        for i in range(20):
            self.pool.apply_async(square, (i,), callback=seen.append).wait(LIMIT)
        self.assertEqual(seen, [i * i for i in range(20)])
        self.pool.map_async(square, range(5), callback=seen.append).get(LIMIT)
        self.assertEqual(seen[-1], [0, 1, 4, 9, 16])
        result = self.pool.apply_async(fail_on, (1, 1), error_callback=errors.append)
        with self.assertRaises(KeyError):
            result.get(LIMIT)
        self.assertIsInstance(errors[0], KeyError)

    def test_callers_and_callbacks_at_once(self):
        seen = []
        for i in range(200):
            self.pool.apply_async(square, (i,), callback=seen.append)
            if i % 10 == 0:
                self.assertEqual(self.pool.apply(square, (i,)), i * i)
                self.assertEqual(sum(self.pool.imap_unordered(square, range(5))), 30)
        self.assertTrue(eventually(lambda: len(seen) == 200))

    def test_imap_is_lazy_and_goes_on_after_errors(self):
        for method in (self.pool.imap, self.pool.imap_unordered):
            endless = method(square, itertools.count())
            self.assertEqual(len([next(endless) for _ in range(3000)]), 3000)
        results = self.pool.imap(fail_on_three, range(6))
        self.assertEqual([next(results) for _ in range(3)], [0, 1, 2])
        with self.assertRaises(KeyError):
            next(results)
        self.assertEqual(list(results), [4, 5])

    def test_imap_of_an_iterable_that_raises(self):
        def bad():
            yield 1
            yield 2
            raise OSError("the iterable broke")

        results = self.pool.imap(square, bad())
        self.assertEqual([next(results), next(results)], [1, 4])
        with self.assertRaisesRegex(OSError, "the iterable broke"):
            next(results)
        with self.assertRaises(StopIteration):
            next(results)

    def test_imap_timeout(self):
        event = Event()
        for method in (self.pool.imap, self.pool.imap_unordered):
            event.clear()
            results = method(wait_for, [event])
            with self.assertRaises(multiprocessing.TimeoutError):
                results.next(timeout=0.01)
            event.set()
            self.assertEqual(results.next(timeout=LIMIT), "done")

    def test_big_payloads(self):
        data = os.urandom(1 << 20) * 24
        self.assertEqual(self.pool.apply(len, (data,)), len(data))
        self.assertEqual(self.pool.apply(echo, (data,)), data)

    def test_a_long_task_holds_nobody_back(self):
        event = Event()
        slow = self.pool.apply_async(wait_for, (event,))
        self.assertEqual(self.pool.map(square, range(500), 1), [x * x for x in range(500)])
        self.assertFalse(slow.ready())
        event.set()
        self.assertEqual(slow.get(LIMIT), "done")

    def test_threads_share_a_pool(self):
        results = {}

        def use(i):
            results[i] = [self.pool.apply(add, (i, j)) for j in range(50)]

        threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        self.assertEqual(results, {i: [i + j for j in range(50)] for i in range(4)})

    def test_close_and_join(self):
        results = [self.pool.apply_async(square, (i,)) for i in range(100)]
        with self.assertRaises(ValueError):
            self.pool.join()
        self.pool.close()
        with self.assertRaises(ValueError):
            self.pool.apply(square, (1,))
        self.pool.join()
        self.assertEqual([r.get(LIMIT) for r in results], [i * i for i in range(100)])

    def test_terminate_ends_workers(self):
        self.pool.apply(square, (1,))
        self.pool.terminate()
        self.pool.join()
        # Those of other tests' pools may be on their way out.
        self.assertTrue(eventually(lambda: freethreading.active_children() == []))
        with self.assertRaises(ValueError):
            self.pool.apply(square, (1,))

    def test_initializer(self):
        with WorkerPool(2, initialise, ("set",)) as pool:
            self.assertEqual(pool.apply(get_state), "set")

    def test_initializer_that_always_fails(self):
        # The traceback that this prints is the user's to see, not the test's.
        stderr = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        try:
            with WorkerPool(2, bad_initializer) as pool:
                with self.assertRaisesRegex(BrokenExecutor, "initializer"):
                    for _ in range(1000):
                        pool.apply(square, (1,))
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(null)

    def test_bad_arguments(self):
        with self.assertRaises(ValueError):
            WorkerPool(0)
        with self.assertRaises(TypeError):
            WorkerPool(1.5)
        with self.assertRaises(TypeError):
            WorkerPool(1, initializer=3)
        with self.assertRaises(ValueError):
            self.pool.map(square, [1], 0)

    def test_nested_pool(self):
        self.assertEqual(self.pool.apply(inner_pool, (4,)), [0, 1, 4, 9])

    def test_queue_as_argument(self):
        queue = Queue()
        self.pool.apply(queue.put, ("through the queue",))
        self.assertEqual(queue.get(timeout=LIMIT), "through the queue")


class ProcessPoolTest(TestCase):
    """What only processes do."""

    def setUp(self):
        self.pool = WorkerPool(2)
        self.addCleanup(self.pool.terminate)

    def test_errors_carry_the_remote_traceback(self):
        with self.assertRaises(KeyError) as caught:
            self.pool.apply(fail_on, (1, 1))
        self.assertIn("fail_on", str(caught.exception.__cause__))

    def test_results_that_cant_be_pickled(self):
        with self.assertRaises(MaybeEncodingError):
            self.pool.apply(lambda_result)
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_exceptions_that_dont_travel(self):
        with self.assertRaisesRegex(MaybeEncodingError, "Picky") as caught:
            self.pool.apply(raise_picky)
        self.assertIn("raise_picky", str(caught.exception.__cause__))
        with self.assertRaisesRegex(MaybeEncodingError, "unsendable"):
            self.pool.apply(raise_unpicklable)
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_terminate_kills_workers_in_tasks(self):
        pids = [w.pid for w in freethreading.active_children()]
        event = Event()
        self.pool.apply_async(wait_for, (event,))
        self.pool.terminate()
        self.pool.join()
        self.assertGone(pids)


class DeathTest(TestCase):
    def test_initializer_that_ends_its_worker(self):
        for how, text in (
            (-9, r"\(pid \d+\), was killed by SIGKILL before it took a task"),
            (0, r"\(pid \d+\), left with exit code 0 before it took a task"),
            (3, r"\(pid \d+\), left with exit code 3 before it took a task"),
        ):
            text = f"^the pool is broken: .*{text}: see what the initializer does$"
            with self.subTest(how=how), WorkerPool(2, deadly_initializer, (how,)) as pool:
                waits = pool.apply_async(square, (1,))
                waits.wait(LIMIT)
                with self.assertRaisesRegex(BrokenExecutor, text):
                    pool.apply(square, (1,))
                with self.assertRaisesRegex(BrokenExecutor, text) as caught:
                    waits.get(LIMIT)
                self.assertNotIsInstance(caught.exception, WorkerDiedError)
                with self.assertRaisesRegex(BrokenExecutor, text):
                    pool.map(square, [1, 2])

    def test_retries(self):
        with WorkerPool(2, retries=2) as pool:
            queue = freethreading.Queue()
            self.assertEqual(pool.apply(die_often, (queue, 2)), "alive")
            self.assertEqual(queue.qsize(), 3)
            queue = freethreading.Queue()
            with self.assertRaises(WorkerDiedError):
                pool.apply(die_often, (queue, 3))
            self.assertEqual(queue.qsize(), 3)
            self.assertEqual(pool.map(square, range(20), 1), [x * x for x in range(20)])
        for bad in (-1, 1.5, "1"):
            with self.assertRaisesRegex(ValueError, "retries"):
                WorkerPool(1, retries=bad)

    def test_deaths_at_work_break_no_pool(self):
        with WorkerPool(1) as pool:
            for _ in range(10):
                with self.assertRaises(WorkerDiedError):
                    pool.apply(die)
            self.assertEqual(pool.apply(square, (3,)), 9)

    def test_a_death_ends_exactly_its_task(self):
        with WorkerPool(2) as pool:
            for round in range(10):
                lost = pool.apply_async(die)
                others = [pool.apply_async(square, (i,)) for i in range(50)]
                with self.assertRaises(WorkerDiedError) as caught:
                    lost.get(LIMIT)
                self.assertEqual(caught.exception.signal, signal.SIGKILL)
                self.assertIn(str(caught.exception.pid), str(caught.exception))
                start = time.monotonic()
                self.assertEqual([o.get(LIMIT) for o in others], [i * i for i in range(50)])
                self.assertLess(time.monotonic() - start, 2.0)

    def test_exit_in_a_task(self):
        with WorkerPool(1) as pool:
            with self.assertRaises(WorkerDiedError) as caught:
                pool.apply(leave, (5,))
            self.assertEqual((caught.exception.signal, caught.exception.exitcode), (0, 5))
            self.assertEqual(pool.apply(square, (2,)), 4)

    def test_map_and_imap(self):
        with WorkerPool(2) as pool:
            with self.assertRaises(WorkerDiedError):
                pool.map(die_on_three, range(8), 1)
            results, lost = [], 0
            iterator = pool.imap_unordered(die_on_three, range(8))
            while True:
                try:
                    results.append(next(iterator))
                except WorkerDiedError:
                    lost += 1
                except StopIteration:
                    break
            self.assertEqual((sorted(results), lost), ([0, 1, 2, 4, 5, 6, 7], 1))

    def test_idle_workers_killed(self):
        with WorkerPool(2) as pool:
            pool.map(square, range(10), 1)
            for _ in range(5):
                for worker in freethreading.active_children():
                    worker.kill()
                self.assertEqual(pool.map(square, range(10), 1), [x * x for x in range(10)])


class LeakTest(TestCase):
    def test_pools_leave_nothing(self):
        def use():
            with WorkerPool(2) as pool:
                self.assertEqual(pool.map(square, range(8)), [x * x for x in range(8)])
            pool.join()

        def measure():
            gc.collect()  # what earlier tests have dropped in cycles
            # First, since a program without any shared memory opens it here.
            blocks = freethreading._core.arena_info()["blocks"]
            fds, threads = os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")
            return len(fds), blocks, len(threads)

        for _ in range(5):
            use()
        self.assertTrue(eventually(no_spares))
        # What is known of a spare goes a moment after itself, so there may be less.
        before = measure()
        for _ in range(int(os.environ.get("FT_TEST_POOLS", "50"))):
            use()
        same = eventually(lambda: all(map(operator.le, measure(), before)))
        self.assertTrue(same, (measure(), before))
        self.assertEqual(freethreading.active_children(), [])


# A thread can neither die alone nor lose what it can't send.
if freethreading.get_backend() == "threading":
    del DeathTest, ProcessPoolTest

if __name__ == "__main__":
    unittest.main()
