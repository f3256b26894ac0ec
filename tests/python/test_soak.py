# SPDX-License-Identifier: MIT
"""A long life: many generations of workers, many tasks, and then there is what there
was before, and no more memory than after the first quarter."""

import gc
import os
import sys
import unittest

from freethreading import Worker, WorkerPool, WorkerPoolExecutor
from support import LIMIT, TestCase, blocks, descendants, eventually, no_spares

EFFORT = min(int(os.environ.get("FT_EFFORT", "1")), 100)
GENERATIONS = 100 * EFFORT
TASKS = 100_000 * EFFORT
#: Kilobytes that allocators may still do as they like with.
SLACK = 3072


def square(x):
    return x * x


def size_of(data):
    return len(data)


def memory():
    """What this process has of its own, in kilobytes."""
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def things():
    gc.collect()
    in_use = blocks()  # first: a program without any shared memory opens it here
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "processes": len(descendants(os.getpid())),
        "blocks": in_use,
    }


def no_more_than(now, before):
    """Whether nothing was added: what is only about to go counts in `before`."""
    return all(now[name] <= before[name] for name in before)


class SoakTest(TestCase):
    def quarter(self):
        for _ in range(GENERATIONS // 16):
            workers = [Worker(target=square, args=(i,)) for i in range(2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            # One pool's life, and an executor's, each with a generation of its own.
            with WorkerPool(1) as pool:
                self.assertEqual(pool.apply(size_of, (b"x" * 100_000,)), 100_000)
            with WorkerPoolExecutor(1) as executor:
                self.assertEqual(executor.submit(square, 5).result(), 25)
        with WorkerPool(2) as pool:
            for _ in range(5):
                count = TASKS // 20
                self.assertEqual(sum(pool.map(square, range(count))), sum(map(square, range(count))))

    def test_leaves_nothing(self):
        self.quarter()
        self.assertTrue(eventually(no_spares))
        first, kilobytes = things(), memory()
        for _ in range(3):
            self.quarter()
        self.assertTrue(
            eventually(lambda: no_spares() and no_more_than(things(), first), LIMIT / 2),
            (first, things()),
        )
        last = memory()
        print(f"{GENERATIONS} generations, {TASKS} tasks: memory {kilobytes} to {last} kB",
              file=sys.stderr)
        self.assertLessEqual(last, kilobytes + SLACK)


if __name__ == "__main__":
    unittest.main()
