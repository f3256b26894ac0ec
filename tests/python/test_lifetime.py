#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long primitives of processes live: as long as any process has one, or one is
on its way in a queue, with a task or in a result; and no longer."""

import gc
import os
import pickle
import signal
import threading
import unittest

# The primitives of processes, whatever the program's choice would be.
os.environ["FT_BACKEND"] = "processes"

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
    WorkerPool,
    WorkerPoolExecutor,
    _core,
)
from support import LIMIT, Thread, WorkerTestCase, blocks, eventually

#: How to make one of each, and to use it so that it must be there.
KINDS = {
    Lock: lambda lock: lock.acquire(timeout=LIMIT) and not lock.release(),
    RLock: lambda lock: lock.acquire(timeout=LIMIT) and not lock.release(),
    Semaphore: lambda semaphore: semaphore.acquire(timeout=LIMIT) and not semaphore.release(),
    BoundedSemaphore: lambda semaphore: semaphore.acquire(timeout=LIMIT)
    and not semaphore.release(),
    Condition: lambda condition: condition.acquire() and not condition.release(),
    Event: lambda event: not event.set() and event.is_set(),
    Barrier: lambda barrier: barrier.wait(LIMIT) == 0,
    Queue: lambda queue: not queue.put(1) and queue.get(timeout=LIMIT) == 1,
    SimpleQueue: lambda queue: not queue.put(1) and queue.get() == 1,
}


def make(kind):
    return kind(1) if kind is Barrier else kind()


def make_all():
    return [make(kind) for kind in KINDS]


def use_all(things):
    return [KINDS[type(thing)](thing) for thing in things]


class Box:
    """What somebody else pickles, by way of a pickle of its own."""

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        return open_box, (pickle.dumps(self.content),)


def open_box(data):
    return Box(pickle.loads(data))


def let_through(event):
    return event.wait(LIMIT)


class Gate:
    """Whoever unpickles it waits for the event."""

    def __init__(self, event):
        self.event = event

    def __reduce__(self):
        return let_through, (self.event,)


class Errand:
    """What its method needs comes after a gate."""

    def __init__(self, event, answers):
        self.gate = Gate(event)
        self.answers = answers
        self.things = make_all()

    def run(self):
        self.answers.put(use_all(self.things))


class Maker:
    """What it is unpickled to is made when it is pickled: nobody else has it."""

    def __reduce__(self):
        return list, (make_all(),)


class Trouble(Exception):
    pass


def get_in_trouble():
    raise Trouble(make_all())


def use_argument(_, things, answers):
    answers.put(use_all(things))


def use_item(queue, answers):
    answers.put(use_all(queue.get(timeout=LIMIT)))


def make_and_wait(queue, gate):
    queue.put(make_all())
    gate.wait()


def make_locked_and_wait(queue, gate):
    lock = Lock()
    lock.acquire()
    queue.put(lock)
    gate.wait()


def hold_and_wait(queue, gate, ready):
    held = queue.get(timeout=LIMIT)
    ready.put(use_all(held))
    gate.wait()


def fill_own_queues_and_wait(queue, ready, gate):
    """Queues that are never pickled: nobody else can know of what is in them."""
    own = [Queue(), SimpleQueue(), Queue()]
    for one in own:
        for _ in range(10):
            one.put((queue, make_all(), b"x" * 100_000))
    inner = Queue()
    inner.put(make_all())
    own[0].put(inner)
    ready.set()
    gate.wait()


def use_until_none(queue, answers):
    count = 0
    for lock, event in iter(queue.get, None):
        with lock:
            event.set()
        count += 1
        del lock, event
    answers.put(count)


def send_many(queue, count):
    for _ in range(count):
        queue.put(Lock())
    queue.put(None)


def use_one(lock):
    with lock:
        return True


def make_one(_):
    return Lock()


class LifetimeCase(WorkerTestCase):
    def setUp(self):
        self.before = blocks()

    def assertNothingLeft(self):  # noqa: N802
        self.assertTrue(
            eventually(lambda: blocks() == self.before),
            f"{blocks() - self.before} blocks are left",
        )
        _core.arena_check()


class TravelTest(LifetimeCase):
    """Whoever made it has dropped it before anybody else has it."""

    def test_in_queues(self):
        for kind in (Queue, SimpleQueue):
            with self.subTest(kind.__name__):
                queue = kind()
                queue.put(make_all())
                self.assertEqual(use_all(queue.get()), [True] * len(KINDS))
                del queue
                self.assertNothingLeft()

    def test_inside_other_objects(self):
        queue = Queue()
        queue.put({"deep": [Box((Box(make_all()), None))]})
        queue.put(b"x" * 100_000)
        queue.put([make_all(), b"y" * 100_000])
        self.assertTrue(all(use_all(queue.get()["deep"][0].content[0].content)))
        queue.get()
        self.assertTrue(all(use_all(queue.get()[0])))
        del queue
        self.assertNothingLeft()

    def test_the_same_one_often(self):
        queue, lock = Queue(), Lock()
        for _ in range(100):
            queue.put([lock, lock])
        del lock
        first, second = queue.get()
        with first:
            self.assertFalse(second.acquire(False))
        while not queue.empty():
            self.assertTrue(use_one(queue.get()[1]))
        del first, second, queue
        self.assertNothingLeft()

    def test_a_queue_in_a_queue(self):
        outer, inner = Queue(), Queue()
        inner.put(make_all())
        outer.put(inner)
        del inner
        self.assertTrue(all(use_all(outer.get().get())))
        del outer
        self.assertNothingLeft()

    def test_what_is_left_in_queues_goes_with_them(self):
        queue = Queue()
        for _ in range(1000):
            outer = Queue()
            outer.put((queue, make_all()))
            queue = outer
        del queue, outer
        self.assertNothingLeft()

    def test_to_another_worker(self):
        queue, answers = Queue(), Queue()
        queue.put(make_all())
        worker = self.start(use_item, queue, answers)
        self.assertEqual(answers.get(timeout=LIMIT), [True] * len(KINDS))
        worker.join(LIMIT)
        del queue, answers, worker
        self.doCleanups()
        self.assertNothingLeft()

    def test_as_arguments_of_a_worker(self):
        answers = Queue()
        queue = Queue()
        queue.put(make_all())
        worker = self.start(use_item, queue, answers)
        del queue
        self.assertEqual(answers.get(timeout=LIMIT), [True] * len(KINDS))
        worker.join(LIMIT)
        del answers, worker
        self.doCleanups()
        self.assertNothingLeft()

    def assertGoesOn(self, event, answers, worker):
        """What it was given is there still when it is let through."""
        gc.collect()
        event.set()
        self.assertEqual(answers.get(timeout=LIMIT), [True] * len(KINDS))
        worker.join(LIMIT)

    def test_made_while_it_is_pickled_for_a_worker(self):
        event, answers = Event(), Queue()
        self.assertGoesOn(event, answers, self.start(use_argument, Gate(event), Maker(), answers))
        del event, answers
        self.doCleanups()
        self.assertNothingLeft()

    def test_in_the_target_of_a_worker(self):
        event, answers = Event(), Queue()
        self.assertGoesOn(event, answers, self.start(Errand(event, answers).run))
        del event, answers
        self.doCleanups()
        self.assertNothingLeft()


class PoolTest(LifetimeCase):
    def test_tasks_and_results(self):
        with WorkerPool(2) as pool:
            self.assertTrue(all(pool.apply(use_all, (make_all(),))))
            self.assertTrue(all(map(all, pool.map(use_all, [make_all() for _ in range(20)]))))
            self.assertTrue(all(pool.imap(use_one, (Lock() for _ in range(20)))))
            results = [pool.apply_async(make_all) for _ in range(20)]
            made = [result.get(LIMIT) for result in results]
            boxed = pool.apply(Box, (make_all(),))
            del results
        pool.join()
        # The workers that made them are gone.
        self.assertTrue(all(map(all, map(use_all, made))))
        self.assertTrue(all(use_all(boxed.content)))
        del made, boxed, pool
        self.assertNothingLeft()

    def test_a_result_that_is_fetched_after_the_end(self):
        with WorkerPool(1) as pool:
            result = pool.apply_async(make_all)
            result.wait(LIMIT)
            pool.close()
            pool.join()
        self.assertTrue(all(use_all(result.get())))
        del result, pool
        self.assertNothingLeft()

    def test_a_result_that_nobody_fetches(self):
        with WorkerPool(1) as pool:
            pool.apply_async(make_all).wait(LIMIT)
            pool.close()
            pool.join()
        del pool
        self.assertNothingLeft()

    def test_exceptions(self):
        with WorkerPool(1) as pool:
            with self.assertRaises(Trouble) as caught:
                pool.apply(get_in_trouble)
            pool.close()
            pool.join()
        self.assertTrue(all(use_all(caught.exception.args[0])))
        del caught, pool
        self.assertNothingLeft()

    def test_with_arrays_beside(self):
        with WorkerPool(1) as pool:
            size = pool.apply(_size, (pickle.PickleBuffer(bytearray(100_000)), Lock()))
            self.assertEqual(size, 100_000)
            lock, data = pool.apply(_with_buffer)
        self.assertTrue(use_one(lock))
        held = blocks()
        del lock
        # The buffer is there, and holds nothing but itself.
        self.assertEqual(blocks(), held - 1)
        self.assertEqual(len(data), 100_000)
        del data, pool
        self.assertNothingLeft()

    def test_executor(self):
        with WorkerPoolExecutor(2) as executor:
            self.assertTrue(all(executor.submit(use_all, make_all()).result(LIMIT)))
            made = executor.submit(make_all).result(LIMIT)
            more = list(executor.map(make_one, range(20)))
        self.assertTrue(all(use_all(made)) and all(map(use_one, more)))
        del made, more, executor
        self.assertNothingLeft()


def _size(buffer, lock):
    return len(buffer) if use_one(lock) else 0


def _with_buffer():
    return Lock(), pickle.PickleBuffer(bytearray(100_000))


class DeathTest(LifetimeCase):
    def test_the_maker_is_killed(self):
        queue, gate = Queue(), Event()
        worker = self.start(make_and_wait, queue, gate)
        things = queue.get(timeout=LIMIT)
        worker.kill()
        worker.join(LIMIT)
        self.assertEqual(use_all(things), [True] * len(KINDS))
        again = pickle.loads(pickle.dumps(things))
        del things, queue, gate, worker
        self.assertEqual(use_all(again), [True] * len(KINDS))
        del again
        self.doCleanups()
        self.assertNothingLeft()

    def test_the_maker_is_killed_before_anybody_looks(self):
        queue, gate = Queue(), Event()
        worker = self.start(make_and_wait, queue, gate)
        self.assertTrue(eventually(lambda: queue.qsize() == 1))
        worker.kill()
        worker.join(LIMIT)
        self.assertEqual(use_all(queue.get()), [True] * len(KINDS))
        del queue, gate, worker
        self.doCleanups()
        self.assertNothingLeft()

    def test_the_maker_is_killed_and_nobody_ever_looks(self):
        queue, gate = Queue(), Event()
        worker = self.start(make_and_wait, queue, gate)
        self.assertTrue(eventually(lambda: queue.qsize() == 1))
        worker.kill()
        worker.join(LIMIT)
        del queue, gate, worker
        self.doCleanups()
        self.assertNothingLeft()

    def test_the_only_owner_of_queues_is_killed(self):
        queue, ready, gate = Queue(), Event(), Event()
        worker = self.start(fill_own_queues_and_wait, queue, ready, gate)
        self.assertTrue(ready.wait(LIMIT))
        worker.kill()
        worker.join(LIMIT)
        del queue, ready, gate, worker
        self.doCleanups()
        self.assertNothingLeft()

    def test_the_maker_is_killed_with_the_lock(self):
        queue, gate = Queue(), Event()
        worker = self.start(make_locked_and_wait, queue, gate)
        lock = queue.get(timeout=LIMIT)
        worker.kill()
        worker.join(LIMIT)
        with self.assertRaises(OwnerDiedError):
            lock.acquire(timeout=LIMIT)
        self.assertTrue(use_one(lock))

    def test_the_last_holder_is_killed(self):
        queue, gate, ready = Queue(), Event(), Queue()
        worker = self.start(hold_and_wait, queue, gate, ready)
        before = blocks()
        queue.put(make_all())
        self.assertEqual(ready.get(timeout=LIMIT), [True] * len(KINDS))
        # A Condition has a lock of its own.
        self.assertEqual(blocks(), before + len(KINDS) + 1)
        worker.kill()
        worker.join(LIMIT)
        del queue, gate, ready, worker
        self.doCleanups()
        self.assertNothingLeft()

    def test_one_of_two_holders_is_killed(self):
        queue, gate, ready = Queue(), Event(), Queue()
        things = make_all()
        queue.put(things)
        worker = self.start(hold_and_wait, queue, gate, ready)
        self.assertEqual(ready.get(timeout=LIMIT), [True] * len(KINDS))
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(LIMIT)
        self.assertEqual(use_all(things), [True] * len(KINDS))
        del things, queue, gate, ready, worker
        self.doCleanups()
        self.assertNothingLeft()


def acquire_all(locks):
    """Takes them out of the list, so that whoever gave it has none any more."""
    while locks:
        locks.pop().acquire()


def forget_held_locks(queue, held, dropped):
    acquire_all(queue.get(timeout=LIMIT))
    held.set()
    dropped.wait(LIMIT)
    Barrier(1).wait(LIMIT)
    queue.put("passed")


class HeldTest(LifetimeCase):
    """Dropped while they were held: they count no more among what a thread holds,
    which is not much beside a barrier."""

    COUNT = 30

    def test_by_their_thread(self):
        for kind in (Lock, RLock, Condition):
            with self.subTest(kind.__name__):
                acquire_all([kind() for _ in range(self.COUNT)])
                self.assertEqual(Barrier(1).wait(LIMIT), 0)
                self.assertNothingLeft()

    def test_recursively(self):
        rlocks = [RLock() for _ in range(self.COUNT)]
        acquire_all(rlocks + rlocks)
        self.assertRaises(RuntimeError, Barrier(1).wait, LIMIT)
        del rlocks
        self.assertEqual(Barrier(1).wait(LIMIT), 0)
        self.assertNothingLeft()

    def test_one_after_the_other(self):
        for _ in range(self.COUNT):
            lock = Lock()
            lock.acquire()
        self.assertEqual(Barrier(1).wait(LIMIT), 0)
        self.assertTrue(lock.locked())
        lock.release()
        del lock
        self.assertNothingLeft()

    def test_by_another_thread(self):
        locks, held, dropped = [Lock() for _ in range(self.COUNT)], Event(), Event()
        passed = []

        def hold():
            for lock in locks:
                lock.acquire()
            del lock
            held.set()
            dropped.wait(LIMIT)
            passed.append(Barrier(1).wait(LIMIT))

        thread = Thread(hold)
        self.assertTrue(held.wait(LIMIT))
        locks.clear()
        dropped.set()
        thread.done()
        self.assertEqual(passed, [0])

    def test_by_another_process(self):
        locks, queue = [Lock() for _ in range(self.COUNT)], Queue()
        held, dropped = Event(), Event()
        worker = self.start(forget_held_locks, queue, held, dropped)
        queue.put(locks)
        self.assertTrue(held.wait(LIMIT))
        self.assertTrue(all(lock.locked() for lock in locks))
        locks.clear()
        dropped.set()
        self.assertEqual(queue.get(timeout=LIMIT), "passed")
        worker.join(LIMIT)
        self.assertEqual(worker.exitcode, 0)

    def test_their_threads_have_ended(self):
        before = _core.arena_info()["slots"]
        for _ in range(self.COUNT):
            Thread(lambda: acquire_all([Lock(), RLock()])).done()
        self.assertTrue(eventually(lambda: _core.arena_info()["slots"] <= before))
        self.assertNothingLeft()


class ManyTest(LifetimeCase):
    COUNT = 10_000

    def test_pickled_and_dropped(self):
        for _ in range(self.COUNT):
            lock = Lock()
            self.assertTrue(use_one(pickle.loads(pickle.dumps(lock))))
        del lock
        self.assertNothingLeft()
        data = [pickle.dumps(Lock()) for _ in range(self.COUNT)]
        self.assertNothingLeft()
        for pickled in data[::100]:
            with self.assertRaisesRegex(ValueError, "no longer exists.*pickle alone"):
                pickle.loads(pickled)

    def test_through_a_queue(self):
        queue = Queue()
        for _ in range(self.COUNT):
            queue.put([Lock()])
        self.assertGreaterEqual(blocks(), self.before + 2 * self.COUNT)
        for _ in range(self.COUNT):
            self.assertTrue(use_one(queue.get()[0]))
        del queue
        self.assertNothingLeft()

    def test_from_a_worker(self):
        queue = Queue()
        worker = self.start(send_many, queue, self.COUNT)
        count = sum(map(use_one, iter(queue.get, None)))
        self.assertEqual(count, self.COUNT)
        worker.join(LIMIT)
        del queue, worker
        self.doCleanups()
        self.assertNothingLeft()

    def test_from_and_to_a_pool(self):
        with WorkerPool(2) as pool:
            made = pool.map(make_one, range(2000))
            self.assertTrue(all(pool.map(use_one, made)))
        del made, pool
        self.assertNothingLeft()

    def test_drops_race_with_arrivals(self):
        """Each lock is in two items, each of which somebody else takes out and
        drops at once, while its maker drops it, too."""
        queues, answers, count = [Queue(8), Queue(8)], Queue(), 2000
        workers = [self.start(use_until_none, queue, answers) for queue in queues]
        for _ in range(count):
            pair = Lock(), Event()
            for queue in queues:
                queue.put(pair)
            del pair
        for queue in queues:
            queue.put(None)
        self.assertEqual([answers.get(timeout=LIMIT) for _ in workers], [count] * 2)
        for worker in workers:
            worker.join(LIMIT)
        del queues, queue, answers, workers, worker
        self.doCleanups()
        self.assertNothingLeft()

    def test_threads_pickle_the_same_one(self):
        for _ in range(50):
            lock, start, found = Lock(), threading.Barrier(4), []

            def pickle_it():
                start.wait(LIMIT)
                found.append(pickle.loads(pickle.dumps(lock)))

            threads = [Thread(pickle_it) for _ in range(4)]
            for thread in threads:
                thread.done()
            self.assertEqual(len({thing.__reduce__()[1] for thing in [lock, *found]}), 1)
            del lock, found, threads, thread, pickle_it
        self.assertNothingLeft()


if __name__ == "__main__":
    unittest.main()
