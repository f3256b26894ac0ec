# SPDX-License-Identifier: MIT
"""System calls that a container or an old kernel refuses: the same results, and
a line that says what is missing."""

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

os.environ["FT_BACKEND"] = "processes"

from support import LIMIT, TestCase

HERE = os.path.dirname(os.path.abspath(__file__))
ERRORS = ("EPERM", "ENOSYS", "EINVAL")
EVERY = int(os.environ.get("FT_EFFORT", "1")) > 1

#: One call refused, whatever with: nothing else may depend on it.
SINGLE = (
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "futex_waitv",
    "pidfd_open",
    "mbind",
    "set_mempolicy",
    "get_mempolicy",
    "memfd_noexec",
    "pidfd_send_signal",
    "close_range",
)
RING = ("io_uring_setup", "io_uring_enter", "io_uring_register")
MEMORY = ("mbind", "set_mempolicy", "get_mempolicy")


def refuse(*names, error):
    return {name: error for name in names}


#: What containers refuse by default, all of it at once.
PROFILES = {
    "docker": {**refuse(*RING, *MEMORY, error="EPERM"), "clone3": "ENOSYS"},
    "podman": {**refuse(*RING, "clone3", error="ENOSYS"), **refuse(*MEMORY, error="EPERM")},
    "gvisor": {
        **refuse(*RING, "futex_waitv", "close_range", *MEMORY, error="ENOSYS"),
        "memfd_noexec": "EINVAL",
    },
    "old kernel": {
        **refuse(*RING, "clone3", "futex_waitv", "close_range", error="ENOSYS"),
        "memfd_noexec": "EINVAL",
    },
}

#: Everything that has a way of its own to the kernel, with the same output.
PROGRAM = """
    import os, signal
    from freethreading import (Barrier, Condition, Event, Lock, Queue, Semaphore, SimpleQueue,
                               Worker, WorkerPool, WorkerPoolExecutor)

    def square(x):
        return x * x

    def die(x):
        os.kill(os.getpid(), signal.SIGKILL)

    def meet(lock, event, semaphore, barrier, condition, queue, simple):
        with lock, semaphore:
            queue.put("queue")
        barrier.wait()
        with condition:
            condition.notify()
        event.wait()
        simple.put("simple")

    def primitives():
        things = Lock(), Event(), Semaphore(1), Barrier(2), Condition(), Queue(), SimpleQueue()
        lock, event, semaphore, barrier, condition, queue, simple = things
        worker = Worker(target=meet, args=things)
        with condition:
            worker.start()
            barrier.wait()
            print(condition.wait(20))
        event.set()
        print(queue.get(), simple.get())
        worker.join()
        print(worker.exitcode)

    def main():
        primitives()
        with WorkerPool(2) as pool:
            print(pool.map(square, range(5)), len(pool.apply(bytes, (300000,))))
        with WorkerPoolExecutor(2) as executor:
            lost = executor.submit(die, 1)
            print(type(lost.exception(20)).__name__, list(executor.map(square, range(5))))

    if __name__ == "__main__":
        main()
"""

STATUSES = """
    import os, signal, sys
    from freethreading import Worker

    def status(target, *args):
        worker = Worker(target=target, args=args)
        worker.start()
        worker.join(20)
        return worker.exitcode

    if __name__ == "__main__":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
        print(status(len, ()), status(sys.exit, 7), status(os._exit, 9))
"""


def confined(refusals, *command, **options):
    words = ",".join(f"{name}={error}" for name, error in refusals.items())
    if words:
        command = (sys.executable, os.path.join(HERE, "sandbox.py"), words, *command)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL, **options
    )


class RefusalTest(TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.program = os.path.join(folder.name, "program.py")
        with open(cls.program, "w") as file:
            file.write(textwrap.dedent(PROGRAM))
        cls.expected = cls.play({})

    @classmethod
    def play(cls, refusals):
        done = confined(refusals, sys.executable, cls.program)
        return done.returncode, done.stdout, done.stderr

    def test_the_program_works(self):
        status, out, err = self.expected
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(len(out.splitlines()), 5, out)

    def test_one_call(self):
        """Each call with one error, or with all of them in make check-long."""
        for i, name in enumerate(SINGLE):
            for error in ERRORS if EVERY else (ERRORS[i % len(ERRORS)],):
                with self.subTest(call=name, error=error):
                    self.assertEqual(self.play({name: error}), self.expected)

    def test_profiles(self):
        for name, refusals in PROFILES.items():
            with self.subTest(name):
                self.assertEqual(self.play(refusals), self.expected)

    def test_what_is_missing_is_said(self):
        lines = {
            "io_uring_setup": ("io_uring ", "epoll"),
            "clone3": ("clone3 ", "clone is used"),
            "memfd_noexec": ("memfd_noexec ", "nothing is lost"),
            "get_mempolicy": ("mempolicy ", "first used"),
        }
        for name, (feature, reason) in lines.items():
            for error in ERRORS if EVERY and name != "clone3" else ("ENOSYS",):
                done = confined({name: error}, sys.executable, "-m", "freethreading")
                said = [line for line in done.stdout.splitlines() if line.startswith(feature)]
                with self.subTest(call=name, error=error):
                    self.assertEqual(len(said), 1, done.stderr)
                    self.assertIn(" off ", said[0])
                    self.assertIn(reason, said[0])

    def test_statuses(self):
        """Before Linux 6.15 a pidfd does not tell the status of who was reaped by
        others: then workers' own word for it is taken."""
        path = self.program + ".statuses.py"
        with open(path, "w") as file:
            file.write(textwrap.dedent(STATUSES))
        done = confined({"ioctl": "ENOTTY"}, sys.executable, path)
        self.assertEqual((done.stdout, done.stderr), ("0 7 255\n", ""))

    def test_c(self):
        """The unit tests of what lies nearest to the kernel pass as well."""
        builddir = os.environ.get("top_builddir")
        for test in ("test_lock", "test_queue", "test_process", "test_spawner", "test_pool_life"):
            path = os.path.join(builddir or ".", "tests/unit", test)
            if not os.path.exists(path):
                continue
            for name in ("docker", "gvisor") if EVERY else ("docker",):
                with self.subTest(test=test, profile=name):
                    done = confined(PROFILES[name], path)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
