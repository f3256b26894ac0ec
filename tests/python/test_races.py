# SPDX-License-Identifier: MIT
"""One object, many threads: what one of them does while another ends it.

Without a GIL every round is a race; with one they are still in turns that
nobody chose."""

import concurrent.futures as futures
import errno
import gc
import os
import signal
import threading
import unittest

from freethreading import WorkerPool, WorkerPoolExecutor, _core, get_backend
from freethreading._future import Future
from freethreading._process import Worker as Process
from support import LIMIT, TestCase, Thread

LARGE = bytes(range(256)) * 1024


def same(value):
    return value


def large(_):
    return bytearray(LARGE)


def together(*functions):
    """Call each function in a thread of its own, all at once."""
    start = threading.Barrier(len(functions))

    def call(function):
        start.wait(LIMIT)
        return function()

    with futures.ThreadPoolExecutor(len(functions)) as threads:
        calls = [threads.submit(call, function) for function in functions]
        return [each.result(LIMIT) for each in calls]


class FutureTest(TestCase):
    def test_cancel_against_the_start(self):
        """A call is cancelled or it runs: never both, never neither."""
        rounds = [Future() for _ in range(2000)]

        def cancel():
            return [future.cancel() for future in rounds]

        def begin():
            return [future.set_running_or_notify_cancel() for future in rounds]

        cancelled, running = together(cancel, begin)
        for future, one, other in zip(rounds, cancelled, running):
            self.assertNotEqual(one, other, future)
            self.assertEqual(future.cancelled(), one)
            self.assertEqual(future.running(), other)

    def test_results_against_each_other(self):
        with WorkerPoolExecutor(2) as executor:
            for _ in range(10):
                future = executor.submit(large, 0)
                values = together(*[lambda future=future: future.result(LIMIT)] * 4)
                self.assertEqual(values, [LARGE] * 4)
                self.assertEqual(len({id(value) for value in values}), 1)

    def test_cancels_and_waits(self):
        with WorkerPoolExecutor(2) as executor:
            pending = [executor.submit(same, i) for i in range(200)]
            called = []
            for future in pending:
                future.add_done_callback(called.append)

            def cancel():
                return [future.cancel() for future in pending]

            def result():
                return [
                    None if futures.wait([future], LIMIT).not_done else future.cancelled()
                    for future in pending
                ]

            cancelled, seen, _ = together(cancel, result, gc.collect)
        self.assertEqual(cancelled, seen)
        self.assertEqual(len(called), len(pending))

    def test_submit_against_shutdown(self):
        """What was taken is done, or cancelled; all else is refused."""
        for cancel in (False, True):
            executor = WorkerPoolExecutor(2)
            taken = []

            def submit(executor=executor, taken=taken):
                try:
                    for i in range(500):
                        taken.append(executor.submit(same, i))
                except RuntimeError:
                    return

            def shut(executor=executor, cancel=cancel):
                executor.shutdown(cancel_futures=cancel)

            together(submit, submit, shut)
            executor.shutdown()
            self.assertEqual(futures.wait(taken, LIMIT).not_done, set())
            if not cancel:
                self.assertFalse(any(future.cancelled() for future in taken))


class PoolTest(TestCase):
    def outcomes(self, end):
        """Calls with and without callbacks, while the pool is ended."""
        pool = WorkerPool(2)
        results, called = [], []
        both = called.append, called.append

        def submit():
            try:
                for i in range(200):
                    results.append(pool.apply_async(same, (i,)))
                    results.append(pool.apply_async(same, (i,), None, *both))
                    results.append(pool.map_async(same, range(4), 1, *both))
            except ValueError:
                return

        together(submit, submit, lambda: end(pool), gc.collect)
        pool.terminate()
        joiner = Thread(pool.join)
        joiner.done()
        for result in results:
            result.wait(LIMIT)
            self.assertTrue(result.ready(), result)

    def test_calls_against_close(self):
        for _ in range(3):
            self.outcomes(WorkerPool.close)

    def test_calls_against_terminate(self):
        for _ in range(3):
            self.outcomes(WorkerPool.terminate)

    def test_callbacks_that_come_too_late(self):
        pool = WorkerPool(1)
        self.assertEqual(pool.apply(same, (1,)), 1)
        pool.close()
        pool.join()
        for _ in range(2):
            with self.assertRaises(ValueError):
                pool.apply_async(same, (1,), callback=same)
            with self.assertRaises(ValueError):
                pool.map_async(same, [1], callback=same)
            Thread(pool.join).done()

    def test_several_take_from_one_iterator(self):
        with WorkerPool(2) as pool:
            for method in (pool.imap, pool.imap_unordered):
                results = method(same, range(500))
                found = together(*[lambda results=results: list(results)] * 3, gc.collect)
                self.assertEqual(sorted(sum(found[:3], [])), list(range(500)))

    def test_several_get_one_result(self):
        with WorkerPool(2) as pool:
            for result in (pool.apply_async(large, (0,)), pool.map_async(large, range(4), 1)):
                values = together(*[lambda result=result: result.get(LIMIT)] * 4)
                self.assertEqual(len({id(value) for value in values}), 1)


#: Gives calls whose arguments another thread reads meanwhile.  None of them is done,
#: so an argument that is dropped is one reference short.
SHARED = """
    import os, threading
    from freethreading import _core
    from freethreading._future import Future

    class Argument:
        def __del__(self):
            if shown[0]:
                os.write(2, b"an argument is dropped while it is in use")
                os._exit(1)

    def read():
        while not over.is_set():
            given = shown[0]
            if given:
                for _ in range(30):
                    given[0]
            del given

    def give(give_one):
        for i in range(30000):
            shown[0] = given = (Argument(),)
            for _ in range(i % 40):
                pass
            give_one(given)
            shown[0] = None

    def give_call(given):
        jobs.call(id, given)

    def give_errand(given):
        jobs.submit(id, given, {})

    shown, over = [None], threading.Event()
    reader = threading.Thread(target=read)
    reader.start()
    for each in (give_call, give_errand):
        jobs = _core.Jobs(1, lambda *_: None, Future)
        give(each)
        jobs.terminate()
    over.set()
    reader.join()
"""


class JobsTest(TestCase):
    def test_a_number_for_each(self):
        """Two threads that serve under one number would share a bed."""
        jobs = _core.Jobs(1, same, Future)
        future = jobs.submit(threading.Event, (), {})
        first = Thread(jobs.serve, 0)
        self.addCleanup(first.done)
        self.addCleanup(jobs.close)
        future.result(LIMIT)
        with self.assertRaises(RuntimeError):
            jobs.serve(0)

    def test_settled_too_early(self):
        jobs = _core.Jobs(1, same, Future)
        with self.assertRaises(ValueError):
            jobs.call(same, (1,)).settle()
        jobs.terminate()

    def test_arguments_that_others_read(self):
        self.assertRuns(SHARED)


def serve_torn(handle):
    """Tasks whose argument other threads look at while they end."""
    seat = _core.Seat(handle)
    while (task := seat.next()) is not None:
        together(*[lambda task=task: look(task)] * 2, lambda task=task: end(task))
        del task
    # Dropped here and there, while the seat is closed.
    seat.close()


def look(task):
    for _ in range(200):
        try:
            with memoryview(task) as view:
                bytes(view[:8])
        except BufferError:
            pass


def end(task):
    while True:
        try:
            task.end()
            return
        except BufferError:
            pass


def serve_dropped(handle):
    seat = _core.Seat(handle)
    held = [seat.next()]
    together(held.clear, seat.close, seat.close)


def collected_within(seat, task):
    """A collection in the midst of next() frees the task in hand."""
    gc.disable()
    ring = [task]
    ring.append(ring)
    del task, ring
    overdue = [[] for _ in range(100)]
    gc.set_threshold(1)
    try:
        raise LookupError
    except LookupError:
        gc.enable()
        # What is raised in a handler is made at once, and so the collection begins.
        try:
            seat.next(-1)
        except (RuntimeError, TimeoutError):
            pass
    gc.set_threshold(700)
    del overdue
    gc.collect()  # for interpreters that begin one only between two instructions


def serve_collected(handle):
    seat = _core.Seat(handle)
    while (task := seat.next()) is not None:
        forked = task.arg == b"fork"
        child = os.fork() if forked else 0
        if child:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            task.end(-1000 - status)
            continue
        if forked:
            signal.alarm(int(LIMIT))  # nobody else ends it if it hangs
        tasks = [task]
        del task
        collected_within(seat, tasks.pop())
        if forked:
            os._exit(7)
    seat.close()


class SeatTest(TestCase):
    """Of processes."""

    def pool(self, target):
        workers = []

        def start(seat, handle, cpus):
            worker = Process(target=target, args=(handle,), daemon=True)
            worker.start()
            workers.append(worker)
            return worker._popen.child

        pool = _core.Pool(1, start)

        def finish():
            pool.terminate(0)
            self.assertTrue(pool.join(LIMIT))
            for worker in workers:
                worker.join(LIMIT)

        self.addCleanup(finish)
        return pool

    def test_looks_against_the_end(self):
        pool = self.pool(serve_torn)
        for ticket in pool.submit_many([b"x" * 8192] * 20):
            self.assertTrue(ticket.wait(LIMIT))
            self.assertEqual(ticket.status(), 0)

    def test_drop_against_close(self):
        pool = self.pool(serve_dropped)
        for _ in range(5):
            ticket = pool.submit(b"x")
            self.assertTrue(ticket.wait(LIMIT))
            self.assertNotEqual(ticket.status(), 0)

    def test_collected_within(self):
        pool = self.pool(serve_collected)
        for ticket in pool.submit_many([b"x"] * 5):
            self.assertTrue(ticket.wait(LIMIT))
            self.assertEqual(ticket.status(), -errno.EFAULT)

    def test_collected_within_a_fork(self):
        """The task is the parent's, who ends it."""
        pool = self.pool(serve_collected)
        ticket = pool.submit(b"fork")
        self.assertTrue(ticket.wait(LIMIT))
        self.assertEqual(ticket.status(), -1007)


if get_backend() == "threading":
    del SeatTest

if __name__ == "__main__":
    unittest.main()
