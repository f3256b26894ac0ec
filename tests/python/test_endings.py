#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that end in the middle of things: whatever they have begun and
however they end, nothing crashes, nothing hangs and nobody is left.

Drawn at random; FT_SEED repeats a series, FT_EFFORT makes it longer."""

import concurrent.futures as futures
import os
import random
import signal
import sys
import textwrap
import time
import unittest

import support

SEED = int(os.environ.get("FT_SEED", time.time_ns() % 1_000_000))
EFFORT = min(int(os.environ.get("FT_EFFORT", "1")), 20)
PROGRAMS = 16 * EFFORT

PRELUDE = """
import atexit, gc, importlib, os, signal, sys, threading, time, weakref
import freethreading as ft

def forever(*args):
    threading.Event().wait()

def briefly(x=0):
    time.sleep(0.005)
    return x

def spin(lock, queue):
    while True:
        with lock:
            queue.put(queue.get())

class Holder:
    "Uses what it holds when it is torn down."
    def __init__(self, held, use):
        self.held, self.use = held, use
        self.ring = self
    def __del__(self):
        try:
            self.use(self.held)
        except BaseException:
            pass

def used_late(function):
    "An exit function: what it may not do any more must say so."
    def call():
        try:
            function()
        except (RuntimeError, ValueError):
            pass
    atexit.register(call)

kept = []

def main():
    global ft
"""

BEGUN = {
    "open pool": """
        pool = ft.WorkerPool(2)
        kept.append(pool)
        kept.append([pool.apply_async(briefly, (i,), callback=kept.append) for i in range(9)])
    """,
    "pool in a stream": """
        pool = ft.WorkerPool(2)
        stream = pool.imap_unordered(briefly, range(50))
        next(stream)
        kept.append(stream)
    """,
    "closed pool": """
        pool = ft.WorkerPool(2)
        pool.map_async(briefly, range(20), chunksize=3)
        pool.close()
    """,
    "pool in a ring": """
        kept.append(Holder(ft.WorkerPool(1), lambda pool: pool.apply(briefly)))
        del kept[-1]
    """,
    "pool that works for ever": """
        kept.append(ft.WorkerPool(1))
        kept[-1].apply_async(forever)
    """,
    "executor": """
        executor = ft.WorkerPoolExecutor(2)
        for i in range(9):
            executor.submit(briefly, i).add_done_callback(lambda f: kept.append(f.result()))
        kept.append(executor)
    """,
    "dropped executor": """
        kept.append(ft.WorkerPoolExecutor(1).submit(briefly, 1))
    """,
    "executor in a map": """
        results = ft.WorkerPoolExecutor(2).map(briefly, range(30))
        next(results)
        kept.append(results)
    """,
    "workers": """
        for i in range(4):
            ft.Worker(target=briefly, args=(i,)).start()
    """,
    "daemons": """
        for i in range(2):
            ft.Worker(target=forever, daemon=True).start()
    """,
    "daemons at primitives": """
        lock, queue = ft.Lock(), ft.Queue()
        queue.put(1)
        for _ in range(2):
            ft.Worker(target=spin, args=(lock, queue), daemon=True).start()
    """,
    "daemons of threading": """
        lock, queue = ft.Lock(), ft.Queue()
        queue.put(1)
        for _ in range(2):
            threading.Thread(target=spin, args=(lock, queue), daemon=True).start()
    """,
    "waiters": """
        waits = [ft.Queue().get, ft.Event().wait, ft.Semaphore(0).acquire, ft.Barrier(2).wait]
        for wait in waits:
            threading.Thread(target=wait, daemon=True).start()
    """,
    "exit function with a pool": """
        @used_late
        def late():
            with ft.WorkerPool(1) as pool:
                pool.apply(briefly)
    """,
    "exit function with an executor": """
        @used_late
        def late():
            with ft.WorkerPoolExecutor(1) as executor:
                executor.submit(briefly).result()
    """,
    "exit function with a worker": """
        @used_late
        def late():
            worker = ft.Worker(target=briefly)
            worker.start()
            worker.join()
    """,
    "objects at the very end": """
        sys.ends = Holder([ft.Lock(), ft.Queue(), ft.Event()], lambda all: all[1].put(all[0]))
        sys.late = Holder(ft.WorkerPoolExecutor(1), lambda executor: executor.submit(briefly))
    """,
    "reload": """
        kept.append(ft.Queue())
        importlib.reload(ft)
    """,
    "second import": """
        kept.append(ft.Lock())
        for name in [name for name in sys.modules if name.startswith("freethreading")]:
            del sys.modules[name]
        ft = importlib.import_module("freethreading")
        kept.append(ft.Queue())
        kept[-1].put(1)
    """,
    # A fork amid threads may find the interpreter's own locks taken.
    "forked child": """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork() if ft.get_backend() == "multiprocessing" else None
        if pid == 0:
            sys.exit()
        if pid:
            os.waitpid(pid, 0)
    """,
}

#: How it ends, and the exit status it must have, if it is known.
ENDS = {
    "end": ("pass", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise LookupError", 1),
    "os._exit": ("os._exit(4)", 4),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); forever()", -signal.SIGTERM),
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT)", None),
    "SIGINT from outside": ("print('ready', flush=True)", None),
    "SIGTERM from outside": ("print('ready', flush=True)", None),
    "SIGKILL from outside": ("print('ready', flush=True); forever()", -signal.SIGKILL),
}

CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE}


def in_session(pid):
    """Processes of the session that the program with this pid began."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == pid and support.state(entry) != "Z":
                found.append(int(entry))
        except ProcessLookupError:
            pass
    return found


class Draw:
    """One program, drawn by a number."""

    def __init__(self, number):
        draw = random.Random(f"{SEED}/{number}")
        self.backend = draw.choice(["threads", "processes"])
        self.begun = draw.sample(list(BEGUN), draw.randint(1, 4))
        self.end = draw.choice(list(ENDS))
        self.delay = draw.choice([0, draw.random() * 0.02, draw.random() * 0.2])
        self.number = number

    def __str__(self):
        return f"FT_SEED={SEED}, program {self.number}: {self.backend}; {self.begun}; {self.end}"

    def source(self):
        body = "".join(textwrap.dedent(BEGUN[name]) for name in self.begun)
        body += ENDS[self.end][0] + "\n"
        guard = '\nif __name__ == "__main__":\n    main()\n'
        return PRELUDE.lstrip() + textwrap.indent(body, "    ") + guard

    def run(self):
        """None, or what went wrong."""
        program = support.Program(
            self.source(), env={"FT_BACKEND": self.backend, "PYTHONFAULTHANDLER": "1"}
        )
        if "outside" in self.end:
            program.process.stdout.readline()
            time.sleep(self.delay)
            program.process.send_signal(getattr(signal, self.end.split()[0]))
        try:
            status, out, err = program.finish()
        except AssertionError as error:
            self.clear(program.pid)
            return f"{self}\n{error}"
        left = [] if support.eventually(lambda: not in_session(program.pid), 10) else "left"
        self.clear(program.pid)
        wanted = ENDS[self.end][1]
        if left or status in CRASHES or "Fatal Python error" in err:
            return f"{self}\nstatus {status} {left}\n{out}{err}"
        return f"{self}\nstatus {status}\n{err}" if wanted not in (None, status) else None

    @staticmethod
    def clear(pid):
        for each in in_session(pid):
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                pass


class EndingsTest(support.TestCase):
    def test_all(self):
        print(f"FT_SEED={SEED}", file=sys.stderr)
        with futures.ThreadPoolExecutor(2) as threads:
            problems = threads.map(lambda number: Draw(number).run(), range(PROGRAMS))
            self.assertEqual([problem for problem in problems if problem], [])


if __name__ == "__main__":
    unittest.main()
