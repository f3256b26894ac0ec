#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The package in other interpreters than the main one, and their ends."""

import sys
import unittest

import support

#: Runs some code in two interpreters of a kind after each other, and ends them.
PROGRAM = """
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters

    def create(isolated):
        if sys.version_info >= (3, 13):
            return interpreters.create("isolated" if isolated else "legacy")
        return interpreters.create(isolated=isolated)

    def main():
        code = "import sys; sys.path[:] = %r\\n%s" % (sys.path, sys.argv[2])
        for _ in range(2):
            one = create(sys.argv[1] == "isolated")
            failed = interpreters.run_string(one, code)
            print(*[failed] * bool(failed), end="", flush=True)
            interpreters.destroy(one)
        print("ended", flush=True)

    if __name__ == "__main__":
        main()
"""

PRIMITIVES = """
import freethreading as ft

with ft.Lock(), ft.RLock(), ft.Condition(), ft.Semaphore():
    queue = ft.Queue()
    queue.put("item")
    print(queue.get(), flush=True)
worker = ft.Worker(target=print, args=("worker",), kwargs={"flush": True})
worker.start()
worker.join()
"""

POOLS = """
import freethreading as ft

pool = ft.WorkerPool(2)
assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
assert pool.apply(abs, (-3,)) == 3
assert list(pool.imap(abs, [-1, -2])) == [1, 2]
assert pool.apply_async(abs, (-4,), callback=print).get() == 4
executor = ft.WorkerPoolExecutor(2)
assert executor.submit(abs, -7).result() == 7
assert list(executor.map(abs, [-8])) == [8]
"""

CLOSED = """
pool.close()
pool.join()
executor.shutdown()
print("closed", flush=True)
"""

OPEN = """
print("open", flush=True)
late = executor.submit(sum, [1, 2])
late.add_done_callback(lambda future: print(future.result(), flush=True))
"""

#: Before 3.12 an interpreter of its own kind has the locks and threads of the others.
KINDS = ["legacy", "isolated"] if sys.version_info >= (3, 12) else ["legacy"]
BACKENDS = ["threads", "processes"]
POOL_BACKENDS = BACKENDS if sys.version_info >= (3, 12) else ["threads"]
REFUSED = "a sub-interpreter can't have a pool of worker processes"


class InterpreterTest(support.TestCase):
    def run_in(self, code, kind, backend):
        status, out, err = support.run(PROGRAM, kind, code, env={"FT_BACKEND": backend})
        self.assertEqual(status, 0, out + err)
        return out

    def expect(self, code, backends, words):
        """Each of the two interpreters prints the words, in any order."""
        for backend in backends:
            for kind in KINDS:
                with self.subTest(backend=backend, kind=kind):
                    out = self.run_in(code, kind, backend).split()
                    self.assertEqual(sorted(out), sorted(words * 2 + ["ended"]))

    def test_primitives(self):
        self.expect(PRIMITIVES, BACKENDS, ["item", "worker"])

    def test_pools(self):
        self.expect(POOLS + CLOSED, POOL_BACKENDS, ["4", "closed"])

    @unittest.skipIf(sys.version_info < (3, 13), "what has threads can't be destroyed there")
    def test_pools_left_open(self):
        """They end with their interpreter, which computes what an executor has."""
        self.expect(POOLS + OPEN, POOL_BACKENDS, ["4", "open", "3"])

    @unittest.skipIf(sys.version_info >= (3, 12), "where they work")
    def test_refused(self):
        catch = POOLS.replace("\n", "\n    ")
        code = f"try:{catch}\nexcept RuntimeError as error:\n    print(error, flush=True)\n"
        out = self.run_in(code, "legacy", "processes")
        self.assertEqual(out.count(REFUSED), 2, out)


if __name__ == "__main__":
    unittest.main()
