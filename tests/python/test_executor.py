# SPDX-License-Identifier: MIT
"""freethreading.WorkerPoolExecutor: a real concurrent.futures.Executor."""

import asyncio
import concurrent.futures as futures
import gc
import itertools
import os
import pickle
import signal
import time
import traceback
import unittest
import weakref

import freethreading
from freethreading import Event, Queue, WorkerDiedError, WorkerPoolExecutor
from support import LIMIT, TestCase, Thread, eventually, gone


def square(x):
    return x * x


def add(x, y):
    return x + y


def fail(text):
    raise LookupError(text)


class Heavy(Exception):
    """Does not travel: `how` says what pickle meets."""

    def __init__(self, text, how):
        super().__init__(text)
        self.how = how

    def __reduce__(self):
        if self.how == "unpicklable":
            raise TypeError("too heavy to lift")
        if self.how == "with a heavy reason":
            raise Heavy("the reason", "unpicklable")
        return Heavy, (str(self),)


def fail_heavily(how):
    raise Heavy("a heavy one", how)


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LIMIT)


def die_once(queue, text):
    queue.put(1)
    if queue.qsize() == 1:
        die()
    return len(text)


def wait_for(event):
    event.wait()
    return "done"


def report_and_wait(queue, event):
    queue.put(os.getpid())
    event.wait()


def bad_initializer():
    raise OSError("no such luck")


def deadly_initializer(how):
    if how < 0:
        os.kill(os.getpid(), -how)
    os._exit(how)


class ExecutorTestCase(TestCase):
    def executor(self, *args, **kwargs):
        executor = WorkerPoolExecutor(*args, **kwargs)
        self.addCleanup(executor.shutdown)
        return executor


class ExecutorTest(ExecutorTestCase):
    def test_submit_and_map(self):
        with WorkerPoolExecutor(2) as executor:
            self.assertIsInstance(executor, futures.Executor)
            future = executor.submit(pow, 2, exp=5)
            self.assertIsInstance(future, futures.Future)
            self.assertEqual(future.result(LIMIT), 32)
            self.assertEqual(list(executor.map(square, range(20))), [x * x for x in range(20)])
            self.assertEqual(
                list(executor.map(add, range(9), range(9), chunksize=4)),
                [2 * x for x in range(9)],
            )
            self.assertEqual(list(executor.map(square, [])), [])

    def test_errors(self):
        executor = self.executor(2)
        future = executor.submit(fail, "text")
        try:
            future.result(LIMIT)
        except LookupError:
            shown = traceback.format_exc()
        self.assertIn("in fail", shown)
        with self.assertRaises(LookupError):
            list(executor.map(fail, ["a", "b"]))
        for call in (
            lambda: executor.submit(lambda: None),
            lambda: executor.submit(square, lambda: None),
            lambda: executor.map(lambda x: x, [1]),
            lambda: WorkerPoolExecutor(1, lambda: None),
        ):
            with self.assertRaisesRegex(ValueError, "can't be pickled"):
                call()

    def test_arguments(self):
        with self.assertRaises(ValueError):
            WorkerPoolExecutor(0)
        with self.assertRaises(TypeError):
            WorkerPoolExecutor(1, initializer=1)
        with self.assertRaisesRegex(TypeError, "surprise"):
            WorkerPoolExecutor(1, surprise=1)
        executor = self.executor(1, thread_name_prefix="x", mp_context=None)
        self.assertEqual(executor.submit(square, 2).result(LIMIT), 4)

    def test_wait_and_as_completed(self):
        executor = self.executor(2)
        event = Event()
        slow = executor.submit(wait_for, event)
        fast = [executor.submit(square, i) for i in range(10)]
        self.assertEqual(
            {f.result() for f in futures.as_completed(fast, LIMIT)}, {i * i for i in range(10)}
        )
        done, left = futures.wait([slow, *fast], 0.01)
        self.assertEqual((len(done), left), (10, {slow}))
        self.assertTrue(eventually(slow.running))
        event.set()
        self.assertEqual(slow.result(LIMIT), "done")
        self.assertFalse(slow.running())

    def test_cancel(self):
        executor = self.executor(1)
        event = Event()
        running = executor.submit(wait_for, event)
        self.assertTrue(eventually(running.running))
        waiting = [executor.submit(square, i) for i in range(5)]
        self.assertFalse(running.cancel())
        self.assertTrue(all(f.cancel() for f in waiting))
        self.assertTrue(waiting[0].cancelled())
        event.set()
        done, _ = futures.wait(waiting, LIMIT)
        self.assertEqual(len(done), 5)
        self.assertEqual(running.result(LIMIT), "done")
        self.assertFalse(running.cancel())

    def test_done_callbacks(self):
        executor = self.executor(2)
        seen = []
        for i in range(10):
            executor.submit(square, i).add_done_callback(lambda f: seen.append(f.result()))
        self.assertTrue(eventually(lambda: sorted(seen) == [i * i for i in range(10)]))

    def test_map_timeout(self):
        executor = self.executor(1)
        event = Event()
        results = executor.map(wait_for, [event], timeout=0.05)
        with self.assertRaises(futures.TimeoutError):
            next(results)
        event.set()

    def test_map_reads_a_bounded_way_ahead(self):
        executor, numbers = self.executor(2), itertools.count()
        results = executor.map(square, numbers, buffersize=3)
        self.assertEqual([next(results) for _ in range(5)], [0, 1, 4, 9, 16])
        self.assertEqual(next(numbers), 8)
        results.close()
        for size in (1, 2, 9):
            results = executor.map(add, range(10), range(10), chunksize=4, buffersize=size)
            self.assertEqual(list(results), list(range(0, 20, 2)))
        self.assertEqual(list(executor.map(square, buffersize=1)), [])
        results = executor.map(square, range(9), buffersize=2)
        self.assertEqual(next(results), 0)
        executor.shutdown()
        with self.assertRaisesRegex(RuntimeError, "after shutdown"):
            next(results)

    def test_map_checks_how_far_it_reads_ahead(self):
        for size, error in (("2", TypeError), (2.0, TypeError), (0, ValueError)):
            with self.assertRaisesRegex(error, "^buffersize must be "):
                self.executor(1).map(square, range(3), buffersize=size)

    def test_map_keeps_the_executor_while_there_is_more_to_read(self):
        results = WorkerPoolExecutor(2).map(square, range(20), buffersize=2)
        gc.collect()
        self.assertEqual(list(results), [i * i for i in range(20)])

    def test_map_timeout_of_a_bounded_way(self):
        executor, event = self.executor(1), Event()
        results = executor.map(wait_for, itertools.repeat(event), timeout=0.05, buffersize=2)
        with self.assertRaises(futures.TimeoutError):
            next(results)
        event.set()

    def test_shutdown(self):
        executor = WorkerPoolExecutor(2)
        pending = [executor.submit(square, i) for i in range(100)]
        executor.shutdown()
        self.assertEqual([f.result(0) for f in pending], [i * i for i in range(100)])
        with self.assertRaises(RuntimeError):
            executor.submit(square, 1)
        executor.shutdown()
        WorkerPoolExecutor(1).shutdown()

    def test_shutdown_cancels(self):
        executor = WorkerPoolExecutor(1)
        event = Event()
        running = executor.submit(wait_for, event)
        self.assertTrue(eventually(running.running))
        waiting = [executor.submit(square, i) for i in range(5)]
        executor.shutdown(wait=False, cancel_futures=True)
        self.assertTrue(all(f.cancelled() for f in waiting))
        event.set()
        self.assertEqual(running.result(LIMIT), "done")
        executor.shutdown()

    def test_asyncio(self):
        executor = self.executor(2)

        async def main():
            loop = asyncio.get_running_loop()
            calls = [loop.run_in_executor(executor, square, i) for i in range(10)]
            return await asyncio.gather(*calls)

        self.assertEqual(asyncio.run(main()), [i * i for i in range(10)])

    def test_max_tasks_per_child(self):
        executor = self.executor(1, max_tasks_per_child=2)
        names = [executor.submit(current_name).result(LIMIT) for _ in range(6)]
        self.assertEqual([names.count(n) for n in dict.fromkeys(names)], [2, 2, 2])

    def test_broken_initializer(self):
        stderr = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        try:
            executor = self.executor(2, bad_initializer)
            with self.assertRaisesRegex(futures.BrokenExecutor, "initializer"):
                for _ in range(1000):
                    executor.submit(square, 1).result(LIMIT)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(null)


class ProcessExecutorTest(ExecutorTestCase):
    """What only processes do."""

    def test_an_initializer_that_ends_its_worker(self):
        for how, text in ((-9, "was killed by SIGKILL"), (0, "left with exit code 0")):
            text = rf"\(pid \d+\), {text} before it took a task: see what the initializer does$"
            with self.subTest(how=how):
                executor = self.executor(2, deadly_initializer, (how,), retries=1)
                for _ in range(3):
                    with self.assertRaisesRegex(futures.BrokenExecutor, text) as caught:
                        executor.submit(square, 1).result(LIMIT)
                    self.assertNotIsInstance(caught.exception, WorkerDiedError)

    def test_exceptions_that_dont_travel(self):
        """What pickle raised is the exception, as for results; the cause has both."""
        executor = self.executor(1)
        for how, kind, text in (
            ("unpicklable", TypeError, "too heavy to lift"),
            ("not to be unpickled", TypeError, "how"),
            ("with a heavy reason", pickle.PicklingError, "the reason"),
        ):
            with self.subTest(how):
                error = executor.submit(fail_heavily, how).exception(LIMIT)
                self.assertIs(type(error), kind)
                self.assertIn(text, str(error))
                self.assertIsInstance(error.__cause__, futures.process._RemoteTraceback)
                self.assertIn("fail_heavily", str(error.__cause__))
                self.assertIn("a heavy one", str(error.__cause__))
                self.assertIn(text, str(error.__cause__))
        self.assertEqual(executor.submit(square, 3).result(LIMIT), 9)

    def test_workers_are_stopped(self):
        for stop in ("terminate_workers", "kill_workers"):
            executor, begun, never = self.executor(2), Queue(), Event()
            pending = [executor.submit(report_and_wait, begun, never) for _ in range(9)]
            pids = [begun.get(timeout=LIMIT) for _ in range(2)]
            getattr(executor, stop)()
            executor.shutdown()
            for future in pending:
                self.assertRaises(futures.CancelledError, future.result, LIMIT)
            for pid in pids:
                self.assertTrue(eventually(lambda: gone(pid)), stop)
            with self.assertRaises(RuntimeError):
                executor.submit(square, 1)
            getattr(executor, stop)()
        getattr(self.executor(1), stop)()

    def test_a_death_ends_one_future(self):
        executor = self.executor(2)
        for _ in range(5):
            lost = executor.submit(die)
            others = [executor.submit(square, i) for i in range(20)]
            with self.assertRaises(WorkerDiedError) as caught:
                lost.result(LIMIT)
            self.assertIsInstance(caught.exception, futures.process.BrokenProcessPool)
            self.assertEqual([f.result(LIMIT) for f in others], [i * i for i in range(20)])

    def test_a_dropped_executor_finishes(self):
        event, seen = Event(), []
        executor = WorkerPoolExecutor(1)
        first = executor.submit(wait_for, event)
        pending = [executor.submit(square, i) for i in range(5)]
        told = executor.submit(square, 6)
        told.add_done_callback(lambda f: seen.append(f.result(0)))
        gone = weakref.ref(executor)
        del executor
        gc.collect()
        self.assertIsNone(gone())
        event.set()
        self.assertEqual(first.result(LIMIT), "done")
        self.assertEqual([f.result(LIMIT) for f in pending], [i * i for i in range(5)])
        self.assertTrue(eventually(lambda: seen == [36]))
        self.assertTrue(eventually(lambda: not freethreading.active_children()))

    def test_nobody_waits(self):
        executor = self.executor(2)
        queue = freethreading.SimpleQueue()
        executor.submit(die)
        for i in range(20):
            executor.submit(queue.put, i)
        self.assertEqual(sorted(queue.get() for _ in range(20)), list(range(20)))

    def test_each_is_told_once(self):
        executor = self.executor(2)
        for _ in range(100):
            future, seen = executor.submit(square, 3), []
            waiters = [
                Thread(lambda: seen.append(future.result(LIMIT))),
                Thread(future.add_done_callback, lambda f: seen.append("called")),
                Thread(futures.wait, [future], LIMIT),
                Thread(future.done),
            ]
            for waiter in waiters:
                waiter.done()
            self.assertTrue(eventually(lambda: len(seen) == 2))
            self.assertEqual(set(seen), {9, "called"})

    def test_large_results_come_to_all(self):
        """What a waiter takes in, and somebody else begins to watch just then."""
        executor = self.executor(2)
        for _ in range(50):
            event, seen = Event(), []
            future = executor.submit(large_after, event)
            waiter = Thread(lambda: seen.append(len(future.result(LIMIT))))
            self.assertTrue(eventually(future.running))
            future.add_done_callback(lambda f: seen.append(len(f.result(0))))
            event.set()
            waiter.done()
            self.assertTrue(eventually(lambda: seen == [1 << 20] * 2), seen)

    def test_cancel_against_work(self):
        executor = self.executor(2)
        for _ in range(200):
            future, seen = executor.submit(square, 3), []
            future.add_done_callback(seen.append)
            cancelled = future.cancel()
            self.assertEqual(future.cancelled(), cancelled)
            if not cancelled:
                self.assertEqual(future.result(LIMIT), 9)
            self.assertTrue(eventually(lambda: seen == [future]))

    def test_waits_mix(self):
        executor = self.executor(2)
        event = Event()
        slow = executor.submit(wait_for, event)
        lean = executor.submit(square, 2)
        watched = executor.submit(square, 4)
        self.assertEqual(futures.wait([watched], LIMIT).done, {watched})
        self.assertEqual(lean.result(LIMIT), 4)
        self.assertEqual(watched._state, "FINISHED")
        self.assertTrue(eventually(slow.running))
        self.assertIn("running", repr(slow))
        with self.assertRaises(futures.TimeoutError):
            slow.result(0.01)
        with self.assertRaises(futures.TimeoutError):
            slow.exception(-1)
        event.set()
        self.assertIsNone(slow.exception(LIMIT))

    def test_retries(self):
        with self.assertRaisesRegex(ValueError, "retries"):
            WorkerPoolExecutor(1, retries=-1)
        executor, queue = self.executor(1, retries=1), freethreading.Queue()
        self.assertEqual(executor.submit(die_once, queue, "x" * 1000).result(LIMIT), 1000)
        self.assertEqual(queue.qsize(), 2)

    def test_names(self):
        executor = self.executor(1)
        name = executor.submit(current_name).result(LIMIT)
        self.assertRegex(name, r"^ForkServerProcess-\d+$")


def large_after(event):
    event.wait(LIMIT)
    return bytearray(1 << 20)


def current_name():
    return freethreading.current_worker().name


if freethreading.get_backend() == "threading":
    del ProcessExecutorTest

if __name__ == "__main__":
    unittest.main()
