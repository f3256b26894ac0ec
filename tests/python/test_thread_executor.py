# SPDX-License-Identifier: MIT
"""freethreading.WorkerPoolExecutor on threads: what test_executor asks of every
executor, and what only threads can do."""

import asyncio
import concurrent.futures as futures
import gc
import os
import queue
import threading
import unittest
import weakref

os.environ["FT_BACKEND"] = "threads"

import freethreading
from freethreading import WorkerPoolExecutor, current_worker
from support import LIMIT, TestCase, Thread, eventually, in_fork, refused
from test_executor import ExecutorTest, ExecutorTestCase  # noqa: F401 (tests to run)
from test_executor import add, fail, square

assert freethreading.get_backend() == "threading"

gate = threading.Event()
told = queue.SimpleQueue()
permits = queue.SimpleQueue()
local = threading.local()


def pass_gate(value=None):
    told.put(current_worker())
    gate.wait(LIMIT)
    return value


def use_permit(value):
    told.put(current_worker())
    permits.get(timeout=LIMIT)
    return value


def remember_here(value):
    local.value = value


def recall_here(_=None):
    return local.value


def raise_it(error):
    raise error


class Thing:
    """Something that can be pickled, and looked for."""


class ThreadExecutorTest(ExecutorTestCase):
    def setUp(self):
        gate.clear()
        self.addCleanup(gate.set)
        while not told.empty():
            told.get()

    def test_workers_are_threads(self):
        executor = self.executor(1)
        worker = executor.submit(current_worker).result(LIMIT)
        self.assertIn(worker, threading.enumerate())
        self.assertRegex(worker.name, r"^ThreadPoolExecutor-\d+_0$")
        self.assertFalse(worker.daemon)
        executor.shutdown()
        self.assertFalse(worker.is_alive())
        named = self.executor(2, thread_name_prefix="spinner")
        names = {w.name for w in named.map(current_worker_of, range(50))}
        self.assertLessEqual(names, {"spinner_0", "spinner_1"})

    def test_references_and_no_copies(self):
        executor = self.executor(1)
        thing = Thing()
        self.assertIs(executor.submit(same, thing).result(LIMIT), thing)
        self.assertIs(next(executor.map(same, [thing])), thing)
        gone = weakref.ref(thing)
        del thing
        self.assertTrue(eventually(lambda: (gc.collect(), gone() is None)[1]))

    def test_the_exception_itself_is_raised(self):
        executor = self.executor(1)
        error = KeyError("this one")
        self.assertIs(executor.submit(raise_it, error).exception(LIMIT), error)
        for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
            self.assertIsInstance(executor.submit(raise_it, kind()).exception(LIMIT), kind)
        self.assertEqual(executor.submit(square, 3).result(LIMIT), 9)

    def test_callbacks_run_in_the_worker(self):
        executor = self.executor(1)
        seen = []
        future = executor.submit(pass_gate)
        future.add_done_callback(lambda f: seen.append(threading.current_thread()))
        gate.set()
        future.result(LIMIT)
        self.assertTrue(eventually(lambda: seen))
        self.assertEqual(seen, [told.get()])

    def test_initializer(self):
        executor = self.executor(2, remember_here, ("here",))
        self.assertEqual(set(executor.map(recall_here, range(50))), {"here"})

    def test_an_initializer_that_fails(self):
        with self.assertLogs("concurrent.futures", "CRITICAL") as logged:
            executor = self.executor(2, raise_it, (OSError("no such luck"),))
            with self.assertRaises(futures.thread.BrokenThreadPool):
                for _ in range(1000):
                    executor.submit(square, 1).result(LIMIT)
            with self.assertRaisesRegex(futures.BrokenExecutor, "initializer"):
                executor.submit(square, 1)
            with self.assertRaisesRegex(futures.BrokenExecutor, "no such luck"):
                list(executor.map(square, [1]))
            executor.shutdown()
        self.assertIn("Exception in initializer", logged.output[0])

    def test_what_waits_for_a_broken_initializer_fails(self):
        with self.assertLogs("concurrent.futures", "CRITICAL"):
            executor = self.executor(1, wait_and_raise)
            pending = [executor.submit(square, i) for i in range(5)]
            results = executor.map(square, range(5))
            gate.set()
            for future in pending:
                with self.assertRaises(futures.BrokenExecutor):
                    future.result(LIMIT)
            with self.assertRaises(futures.BrokenExecutor):
                next(results)

    def test_map_in_chunks(self):
        executor = self.executor(2)
        for chunk in (1, 2, 7, 1000, 10**12):
            results = executor.map(add, range(100), range(100), chunksize=chunk)
            self.assertEqual(list(results), [2 * i for i in range(100)])
        self.assertEqual(list(executor.map(add, [], [])), [])
        with self.assertRaises(ValueError):
            executor.map(square, [1], chunksize=0)

    def test_map_goes_on_when_its_results_are_dropped(self):
        executor = self.executor(2)
        gate.set()
        executor.map(pass_gate, range(100))
        executor.shutdown()
        self.assertEqual(told.qsize(), 100)

    def test_map_ends_when_its_results_are_given_up(self):
        executor = self.executor(1)
        results = executor.map(use_permit, range(100))
        permits.put(1)
        self.assertEqual(next(results), 0)
        self.assertTrue(eventually(lambda: told.qsize() == 2))
        results.close()
        permits.put(1)
        executor.shutdown()
        self.assertEqual(told.qsize(), 2)

    def test_map_ends_at_the_first_error(self):
        executor = self.executor(2)
        results = executor.map(fail, ["a", "b"])
        with self.assertRaisesRegex(LookupError, "a"):
            next(results)
        with self.assertRaises(StopIteration):
            next(results)

    def test_max_tasks_per_child_in_a_map(self):
        executor = self.executor(1, max_tasks_per_child=2)
        names = list(executor.map(name_of_worker, range(12), chunksize=2))
        self.assertEqual([names.count(n) for n in dict.fromkeys(names)], [4, 4, 4])

    def test_cancelled_in_the_queue(self):
        executor = self.executor(1)
        running = executor.submit(pass_gate, 1)
        self.assertTrue(eventually(running.running))
        waiting = [executor.submit(square, i) for i in range(10)]
        self.assertTrue(all(f.cancel() for f in waiting[::2]))
        results = executor.map(square, range(3))
        executor.shutdown(wait=False, cancel_futures=True)
        self.assertTrue(all(f.cancelled() for f in waiting))
        with self.assertRaises(futures.CancelledError):
            next(results)
        with self.assertRaisesRegex(RuntimeError, "after shutdown"):
            executor.submit(square, 1)
        with self.assertRaisesRegex(RuntimeError, "after shutdown"):
            executor.map(square, [1])
        gate.set()
        self.assertEqual(running.result(LIMIT), 1)
        executor.shutdown()

    def test_an_executor_that_is_dropped_finishes(self):
        gate.set()
        executor = WorkerPoolExecutor(2)
        pending = [executor.submit(pass_gate, i) for i in range(50)]
        results = executor.map(square, range(50))
        gone = weakref.ref(executor)
        del executor
        self.assertTrue(eventually(lambda: (gc.collect(), gone() is None)[1]))
        self.assertEqual([f.result(LIMIT) for f in pending], list(range(50)))
        self.assertEqual(list(results), [i * i for i in range(50)])
        workers = {told.get() for _ in range(50)}
        self.assertTrue(eventually(lambda: not any(w.is_alive() for w in workers)))

    def test_many_threads_submit(self):
        executor = self.executor(2)
        failed = []

        def use(i):
            try:
                for j in range(50):
                    pending = [executor.submit(add, i, k) for k in range(20)]
                    assert [f.result(LIMIT) for f in pending] == [i + k for k in range(20)]
                    assert len(futures.wait(pending).done) == 20
                    assert list(executor.map(square, range(9))) == [x * x for x in range(9)]
            except BaseException as error:
                failed.append(error)
                raise

        threads = [Thread(use, i) for i in range(8)]
        for thread in threads:
            thread.done()
        self.assertEqual(failed, [])

    def test_asyncio_awaits_it(self):
        async def main():
            loop = asyncio.get_running_loop()
            executor = self.executor(2)
            wrapped = asyncio.wrap_future(executor.submit(square, 5))
            return await wrapped, await loop.run_in_executor(executor, square, 6)

        self.assertEqual(asyncio.run(main()), (25, 36))

    def test_in_a_child_of_fork(self):
        executor = self.executor(1)
        done = executor.submit(square, 2)
        self.assertEqual(done.result(LIMIT), 4)

        def child():
            count = refused(
                lambda: executor.submit(square, 1), lambda: executor.map(square, [1])
            )
            executor.shutdown()
            return 7 if count == 2 and done.result() == 4 else count

        self.assertEqual(in_fork(child), 7)
        self.assertEqual(executor.submit(square, 3).result(LIMIT), 9)


class ExitTest(TestCase):
    def test_pending_futures_are_computed_at_exit(self):
        out = self.assertRuns(
            """
            from freethreading import WorkerPoolExecutor
            import time
            def slow(x):
                time.sleep(0.01)
                print(x, flush=True)
            if __name__ == "__main__":
                executor = WorkerPoolExecutor(1)
                for i in range(5): executor.submit(slow, i)
                executor.map(slow, range(5, 8))
            """,
            env={"FT_BACKEND": "threads"},
        )
        self.assertEqual(out.split(), [str(i) for i in range(8)])


def same(thing):
    return thing


def current_worker_of(_):
    return current_worker()


def name_of_worker(_):
    return current_worker().name


def wait_and_raise():
    gate.wait(LIMIT)
    raise OSError("no such luck")


if __name__ == "__main__":
    unittest.main()
