# SPDX-License-Identifier: MIT
"""The executors' Future, completed by a thread, as concurrent.futures sees it."""

import asyncio
import concurrent.futures as futures
import gc
import threading
import unittest
import weakref

from freethreading._future import Future
from support import LIMIT, TestCase


class FutureTest(TestCase):
    def later(self, call, *args):
        thread = threading.Thread(target=call, args=args)
        self.addCleanup(thread.join)
        thread.start()

    def test_is_a_future(self):
        future = Future()
        self.assertIsInstance(future, futures.Future)
        self.assertFalse(future.done() or future.running() or future.cancelled())
        self.assertIn("pending", repr(future))
        with self.assertRaises(TypeError):
            Future(1)

    def test_result(self):
        future = Future()
        self.assertTrue(future.set_running_or_notify_cancel())
        self.assertTrue(future.running())
        self.assertFalse(future.cancel())
        with self.assertRaises(futures.TimeoutError):
            future.result(0.001)
        self.later(future.set_result, "value")
        self.assertEqual(future.result(LIMIT), "value")
        self.assertIsNone(future.exception(0))
        self.assertTrue(future.done())
        self.assertFalse(future.running() or future.cancelled())
        self.assertIn("finished returned str", repr(future))
        with self.assertRaises(futures.InvalidStateError):
            future.set_result(1)
        with self.assertRaises(futures.InvalidStateError):
            future.set_exception(ValueError())
        with self.assertRaises(RuntimeError):
            future.set_running_or_notify_cancel()
        self.assertFalse(future.cancel())

    def test_exception(self):
        future = Future()
        error = LookupError("text")
        self.later(future.set_exception, error)
        with self.assertRaises(LookupError) as caught:
            future.result(LIMIT)
        self.assertIs(caught.exception, error)
        self.assertIs(future.exception(), error)
        self.assertIn("finished raised LookupError", repr(future))

    def test_cancel(self):
        future, seen = Future(), []
        future.add_done_callback(seen.append)
        self.assertTrue(future.cancel())
        self.assertTrue(future.cancel())
        self.assertTrue(future.cancelled() and future.done())
        self.assertEqual(seen, [future])
        with self.assertRaises(futures.CancelledError):
            future.result(0)
        with self.assertRaises(futures.CancelledError):
            future.exception(0)
        self.assertFalse(future.set_running_or_notify_cancel())
        self.assertEqual(seen, [future])
        self.assertTrue(future.cancelled())

    def test_cancel_wakes(self):
        future = Future()
        self.later(future.cancel)
        with self.assertRaises(futures.CancelledError):
            future.result(LIMIT)

    def test_callbacks(self):
        future, seen = Future(), []
        for i in range(3):
            future.add_done_callback(lambda f, i=i: seen.append((i, f.result(0))))
        future.add_done_callback(lambda f: 1 / 0)
        with self.assertLogs("concurrent.futures", "ERROR"):
            future.set_result("x")
        future.add_done_callback(lambda f: seen.append((3, f.result(0))))
        self.assertEqual(seen, [(i, "x") for i in range(4)])

    def test_wait(self):
        pending = [Future() for _ in range(4)]
        pending[0].set_result(0)
        self.later(pending[1].set_result, 1)
        done, left = futures.wait(pending[:2], LIMIT)
        self.assertEqual((len(done), len(left)), (2, 0))
        self.later(pending[2].set_exception, OSError())
        done, left = futures.wait(pending, LIMIT, futures.FIRST_EXCEPTION)
        self.assertEqual(left, {pending[3]})
        pending[3].cancel()
        pending[3].set_running_or_notify_cancel()
        self.assertEqual(set(futures.as_completed(pending, LIMIT)), set(pending))

    def test_wait_for_a_cancelled_one(self):
        future = Future()

        def cancel():
            future.cancel()
            future.set_running_or_notify_cancel()

        self.later(cancel)
        self.assertEqual(futures.wait([future], LIMIT).done, {future})

    def test_asyncio(self):
        async def main():
            future = Future()
            self.later(future.set_result, 7)
            other = Future()
            self.later(other.set_exception, KeyError(1))
            self.assertEqual(await asyncio.wait_for(asyncio.wrap_future(future), LIMIT), 7)
            with self.assertRaises(KeyError):
                await asyncio.wait_for(asyncio.wrap_future(other), LIMIT)

        asyncio.run(main())

    def test_many_waiters_one_outcome(self):
        for _ in range(200):
            future, seen = Future(), []
            threads = [
                threading.Thread(target=lambda: seen.append(future.result(LIMIT)))
                for _ in range(3)
            ]
            threads.append(
                threading.Thread(target=future.add_done_callback, args=(seen.append,))
            )
            for thread in threads:
                thread.start()
            future.set_result(1)
            for thread in threads:
                thread.join()
            self.assertEqual(seen.count(1), 3)
            self.assertEqual(seen.count(future), 1)

    def test_one_completer_wins(self):
        for _ in range(200):
            future, won = Future(), []

            def complete(value):
                try:
                    future.set_result(value)
                    won.append(value)
                except futures.InvalidStateError:
                    pass

            threads = [threading.Thread(target=complete, args=(i,)) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(won, [future.result(0)])

    def test_garbage(self):
        future = Future()
        future.add_done_callback(lambda f: future)
        future.set_result([future])
        gone = weakref.ref(future)
        del future
        gc.collect()
        self.assertIsNone(gone())


if __name__ == "__main__":
    unittest.main()
