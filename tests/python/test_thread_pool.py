# SPDX-License-Identifier: MIT
"""freethreading.WorkerPool on threads: what test_pool asks of every pool, and
what only threads can do."""

import gc
import itertools
import os
import queue
import threading
import unittest
import warnings
import weakref
from concurrent.futures import BrokenExecutor, CancelledError
from unittest import mock

os.environ["FT_BACKEND"] = "threads"

import freethreading
from freethreading import WorkerPool, current_worker
from support import LIMIT, Alarm, Raised, TestCase, Thread, eventually, in_fork, raiser, refused
from test_pool import LeakTest, PoolTest, add, echo, square  # noqa: F401 (tests to run)

assert freethreading.get_backend() == "threading"

#: So that tests find them from inside a task, which gets nothing that can't travel.
gate = threading.Event()
told = queue.SimpleQueue()


def pass_gate(value=None):
    told.put(current_worker())
    gate.wait(LIMIT)
    return value


def five_times(thing):
    for _ in range(5):
        yield thing


class Thing:
    """Something that can be pickled, and looked for."""


def remember(thing):
    told.put(thing)
    return thing


class CountedIterator:
    """Says how many items were taken from it."""

    def __init__(self):
        self.count = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.count += 1
        return self.count


class ThreadPoolTest(TestCase):
    def setUp(self):
        gate.clear()
        self.pool = WorkerPool(2)
        self.addCleanup(self.end)

    def end(self):
        gate.set()
        self.pool.terminate()
        self.pool.join()
        while not told.empty():
            told.get()

    def test_workers_are_threads(self):
        worker = self.pool.apply(current_worker)
        self.assertIsInstance(worker, threading.Thread)
        self.assertIn(worker, threading.enumerate())
        self.assertIn(worker, freethreading.active_children())
        self.assertRegex(worker.name, r"^Thread-\d+ \(worker\)$")
        self.assertTrue(worker.daemon)
        self.assertTrue(worker.is_alive())
        natives = {w.native_id for w in threading.enumerate()}
        self.assertIn(self.pool.apply(threading.get_native_id), natives)
        self.pool.terminate()
        self.pool.join()
        self.assertFalse(worker.is_alive())
        self.assertNotIn(worker, threading.enumerate())

    def test_references_and_no_copies(self):
        thing = Thing()
        self.assertIs(self.pool.apply(echo, (thing,)), thing)
        self.assertIs(self.pool.map(echo, [thing])[0], thing)
        self.assertIs(next(self.pool.imap(echo, [thing])), thing)
        self.assertIs(next(self.pool.imap_unordered(echo, iter([thing, thing]))), thing)

    def test_the_exception_itself_is_raised(self):
        error = KeyError("this one")
        for call in (
            lambda: self.pool.apply(raise_it, (error,)),
            lambda: self.pool.map(raise_it, [error]),
            lambda: next(self.pool.imap(raise_it, [error])),
        ):
            with self.assertRaises(KeyError) as caught:
                call()
            self.assertIs(caught.exception, error)
        result = self.pool.apply_async(raise_it, (error,))
        for _ in range(2):
            with self.assertRaises(KeyError):
                result.get(LIMIT)

    def test_nothing_is_kept(self):
        thing = Thing()
        gone = weakref.ref(thing)
        self.assertIs(self.pool.apply(echo, (thing,)), thing)
        result = self.pool.apply_async(square, (2,))
        kept = self.pool.apply_async(id, (thing,))
        kept.wait(LIMIT)
        list(self.pool.imap(id, [thing]))
        self.pool.map(id, [thing])
        del thing
        self.assertTrue(eventually(lambda: (gc.collect(), gone() is None)[1]))
        self.assertEqual(result.get(LIMIT), 4)

    def test_what_is_cancelled_is_dropped(self):
        thing = Thing()
        gone = weakref.ref(thing)
        running = [self.pool.apply_async(pass_gate) for _ in range(2)]
        self.assertTrue(eventually(lambda: told.qsize() == 2))
        waiting = self.pool.apply_async(id, (thing,))
        batch = self.pool.map_async(id, [thing] * 5, 1)
        stream = self.pool.imap(id, [thing] * 5)
        fed = self.pool.imap_unordered(id, five_times(thing))
        del thing
        self.pool.terminate()
        for call in (waiting.get, batch.get, stream.next, fed.next):
            with self.assertRaises(CancelledError):
                call(LIMIT)
        del call, stream, fed
        self.assertTrue(eventually(lambda: (gc.collect(), gone() is None)[1]))
        self.assertFalse(running[0].ready())
        gate.set()
        self.assertIsNone(running[0].get(LIMIT))
        self.pool.join()

    def test_a_cycle_through_a_result_is_found(self):
        thing = Thing()
        gone = weakref.ref(thing)
        thing.result = self.pool.apply_async(echo, (thing,))
        self.assertIs(thing.result.get(LIMIT), thing)
        thing.stream = self.pool.imap(echo, [thing] * 3)
        next(thing.stream)
        del thing
        self.assertTrue(eventually(lambda: (gc.collect(), gone() is None)[1]))

    def test_callbacks_come_one_after_the_other_and_may_use_the_pool(self):
        inside, most, seen = [], [], []

        def callback(value):
            inside.append(value)
            most.append(len(inside))
            seen.append(self.pool.apply(square, (value,)))
            inside.remove(value)

        for i in range(50):
            self.pool.apply_async(echo, (i,), callback=callback)
        last = self.pool.map_async(echo, range(3), callback=seen.append)
        self.assertEqual(last.get(LIMIT), [0, 1, 2])
        self.assertTrue(eventually(lambda: len(seen) == 51))
        self.assertEqual(max(most), 1)
        self.assertEqual(sorted(x for x in seen if x != [0, 1, 2]), [i * i for i in range(50)])

    def test_a_result_waits_for_its_callback(self):
        seen = []

        def callback(value):
            gate.wait(LIMIT)
            seen.append(value)

        result = self.pool.apply_async(square, (3,), callback=callback)
        self.assertFalse(result.ready())
        with self.assertRaises(ValueError):
            result.successful()
        gate.set()
        self.assertEqual((result.get(LIMIT), seen), (9, [9]))

    def test_join_waits_for_callbacks(self):
        seen = []
        for i in range(20):
            self.pool.apply_async(echo, (i,), callback=seen.append)
        self.pool.close()
        self.pool.join()
        self.assertEqual(sorted(seen), list(range(20)))

    def test_a_pool_that_is_dropped_finishes(self):
        gate.set()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pool = WorkerPool(1)
            worker = pool.apply(current_worker)
            results = [pool.apply_async(pass_gate, (i,)) for i in range(20)]
            stream = pool.imap(square, range(20))
            del pool
            self.assertEqual(list(stream), [i * i for i in range(20)])
            del stream
            gc.collect()
        self.assertEqual([w.category for w in caught], [ResourceWarning])
        self.assertEqual([r.get(LIMIT) for r in results], list(range(20)))
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())

    def test_join_in_a_worker(self):
        with WorkerPool(1) as pool:
            _pools.append(pool)
            with self.assertRaisesRegex(RuntimeError, "join"):
                pool.apply(close_and_join)
            _pools.clear()

    def test_nested_pools(self):
        def inner(depth):
            with WorkerPool(2) as pool:
                return pool.map(square, range(depth)) if depth < 3 else inner(depth - 1)

        self.assertEqual(inner(5), [0, 1])
        self.assertEqual(self.pool.map(nested, range(20)), [[0, 1, 4]] * 20)

    def test_many_threads_submit(self):
        failed = []

        def use(i):
            try:
                for j in range(100):
                    results = [self.pool.apply_async(add, (i, k)) for k in range(20)]
                    assert [r.get(LIMIT) for r in results] == [i + k for k in range(20)]
                    assert self.pool.map(square, range(10), 1) == [x * x for x in range(10)]
                    assert list(self.pool.imap(square, range(10))) == [x * x for x in range(10)]
                    assert sum(self.pool.imap_unordered(square, range(10), 3)) == 285
                    assert self.pool.apply(add, (i, j)) == i + j
            except BaseException as error:
                failed.append(error)
                raise

        threads = [Thread(use, i) for i in range(8)]
        for thread in threads:
            thread.done()
        self.assertEqual(failed, [])

    def test_signals_interrupt_waits(self):
        slow = self.pool.apply_async(pass_gate)
        stream = self.pool.imap(pass_gate, range(1))
        for wait in (slow.get, slow.wait, stream.next):
            with Alarm(raiser), self.assertRaises(Raised):
                wait(LIMIT)
        gate.set()
        self.assertIsNone(slow.get(LIMIT))
        self.assertEqual(stream.next(LIMIT), 0)

    def test_in_a_child_of_fork(self):
        result = self.pool.apply_async(square, (2,))
        self.assertEqual(result.get(LIMIT), 4)
        waiting = self.pool.apply_async(pass_gate)
        stream = self.pool.imap(square, range(5))

        def child():
            count = refused(
                lambda: self.pool.apply(square, (1,)),
                lambda: self.pool.map(square, [1]),
                lambda: self.pool.imap(square, [1]),
                lambda: waiting.get(LIMIT),
                lambda: next(stream),
            )
            self.pool.terminate()
            self.pool.join()
            return 7 if count == 5 and result.get() == 4 else count

        self.assertEqual(in_fork(child), 7)
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_an_initializer_that_fails_breaks_the_pool(self):
        reported = []
        with mock.patch("traceback.print_exception", reported.append):
            pool = WorkerPool(2, raise_it, (OSError("no such luck"),))
        self.addCleanup(pool.terminate)
        with self.assertRaisesRegex(BrokenExecutor, "no such luck"):
            for _ in range(1000):
                pool.apply(square, (1,))
        with self.assertRaisesRegex(BrokenExecutor, "initializer"):
            pool.map(square, [1, 2])
        pool.terminate()
        pool.join()
        self.assertEqual([str(error) for error in reported], ["no such luck"] * len(reported))


class StreamTest(TestCase):
    """The imap family: who reads the iterable, and how far."""

    def setUp(self):
        gate.clear()
        self.pool = WorkerPool(2)
        self.addCleanup(self.pool.terminate)
        self.addCleanup(gate.set)

    def test_an_iterable_that_wants_the_results(self):
        for method in (self.pool.imap, self.pool.imap_unordered):
            wanted = queue.SimpleQueue()
            wanted.put(1)
            results = method(square, iter(wanted.get, None))
            seen = []
            for value in results:
                seen.append(value)
                wanted.put(value + 1 if value < 1000 else None)
            self.assertEqual(seen, [1, 4, 25, 676, 458329])

    def test_an_iterable_that_uses_the_pool(self):
        with WorkerPool(1) as pool:
            results = pool.imap(square, (pool.apply(add, (i, 1)) for i in range(10)))
            self.assertEqual(list(results), [(i + 1) ** 2 for i in range(10)])

    def test_the_iterable_is_read_a_bounded_way_ahead(self):
        for method in (self.pool.imap, self.pool.imap_unordered):
            items = CountedIterator()
            results = method(square, items)
            self.assertEqual(sorted(itertools.islice(results, 10))[0], 1)
            ahead = eventually_still(lambda: items.count)
            self.assertLess(ahead, 3000)
            taken = len(list(itertools.islice(results, 5000)))
            self.assertEqual(taken, 5000)
            del results
            self.assertLess(eventually_still(lambda: items.count), 5010 + 3000)

    def test_slow_tasks_keep_little_ahead(self):
        items = CountedIterator()
        results = self.pool.imap(pass_gate, items)
        self.assertTrue(eventually(lambda: items.count >= 4))
        self.assertLessEqual(eventually_still(lambda: items.count), 16)
        gate.set()
        self.assertEqual(next(results), 1)

    def test_closed_and_joined_before_anything_is_taken(self):
        for make in (range, lambda n: iter(list(range(n))), lambda n: (i for i in range(n))):
            with WorkerPool(2) as pool:
                ordered = pool.imap(square, make(5000))
                unordered = pool.imap_unordered(square, make(5000), 3)
                pool.close()
                pool.join()
                self.assertEqual(list(ordered), [i * i for i in range(5000)])
                self.assertEqual(sorted(unordered), [i * i for i in range(5000)])

    def test_taken_after_close(self):
        results = self.pool.imap(square, (i for i in range(3000)))
        others = self.pool.imap_unordered(square, range(3000))
        self.pool.close()
        with self.assertRaises(ValueError):
            self.pool.imap(square, range(3))
        self.assertEqual(list(results), [i * i for i in range(3000)])
        self.assertEqual(sorted(others), [i * i for i in range(3000)])
        self.pool.join()

    def test_errors_in_their_places(self):
        def bad():
            yield 1
            yield 0
            yield 2
            raise LookupError("the iterable broke")

        results = self.pool.imap(inverse, bad())
        self.assertEqual(next(results), 1)
        with self.assertRaises(ZeroDivisionError):
            next(results)
        self.assertEqual(next(results), 0.5)
        with self.assertRaisesRegex(LookupError, "broke"):
            next(results)
        for _ in range(2):
            with self.assertRaises(StopIteration):
                next(results)

    def test_several_threads_take(self):
        results = self.pool.imap_unordered(square, range(2000))
        seen = []
        threads = [Thread(lambda: seen.extend(results)) for _ in range(4)]
        for thread in threads:
            thread.done()
        self.assertEqual(sorted(seen), [i * i for i in range(2000)])

    def test_an_empty_iterable_and_what_is_none(self):
        for method in (self.pool.imap, self.pool.imap_unordered):
            self.assertEqual(list(method(square, [])), [])
            self.assertEqual(list(method(square, iter(()))), [])
            self.assertEqual(list(method(square, (i for i in ()))), [])
            with self.assertRaises(TypeError):
                method(square, 3)


class ExitTest(TestCase):
    """The end of a program that has not ended its pool."""

    def check(self, body):
        source = f"""
            import time, freethreading
            from freethreading import WorkerPool
            def square(x): return x * x
            def forever(): time.sleep(600)
            if __name__ == "__main__":
                pool = WorkerPool(2)
                {body}
                print("done", flush=True)
        """
        out = self.assertRuns(source, env={"FT_BACKEND": "threads"})
        self.assertEqual(out, "done\n")

    def test_idle(self):
        self.check("assert pool.apply(square, (2,)) == 4")

    def test_in_a_task(self):
        self.check("pool.apply_async(forever); time.sleep(0.05)")

    def test_in_a_batch_and_a_stream(self):
        self.check("pool.map_async(square, range(10**6)); s = pool.imap(square, range(10**6))")

    def test_with_callbacks_and_an_endless_iterable(self):
        self.check(
            "import itertools; pool.apply_async(square, (1,), callback=print.__class__);"
            " s = pool.imap(square, itertools.count()); next(s)"
        )


_pools = []


def close_and_join():
    _pools[0].close()
    _pools[0].join()


def nested(_):
    with WorkerPool(1) as pool:
        return list(pool.imap(square, range(3)))


def inverse(x):
    return 1 / x


def raise_it(error):
    raise error


def eventually_still(measure):
    """What measure() gives once it no longer changes."""
    last = [measure()]

    def still():
        last.append(measure())
        return len(last) > 10 and len(set(last[-10:])) == 1

    if not eventually(still):
        raise AssertionError(f"it never comes to rest: {last[-10:]}")
    return last[-1]


if __name__ == "__main__":
    unittest.main()
