# SPDX-License-Identifier: MIT
"""What the Python tests share: programs in processes of their own, and waits
that end with a clear failure instead of hanging."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

from freethreading import Worker, _core

#: Seconds after which something that should have happened is called a hang.
LIMIT = float(os.environ.get("FT_TEST_LIMIT", "60"))


def eventually(condition, limit=LIMIT):
    """Wait until condition() is true; False if it is not within the limit."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def state(pid):
    """The process's state letter, or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def gone(pid):
    """Whether the process is no more, not even as a zombie of ours."""
    return state(pid) is None


def descendants(pid):
    """Pids of all living processes below pid."""
    below, found = {}, []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            below.setdefault(parent, []).append(int(entry))
    queue = [pid]
    while queue:
        children = below.get(queue.pop(), [])
        found += children
        queue += children
    return found


def no_spares():
    """Whether no spare worker of ours is there: they leave half a second after
    the last start, and what is known of them a moment later."""
    names = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm:
            names.append(comm.read())
    return "ft-spare\n" not in names


def blocks():
    """How many blocks have an owner, once what nobody can reach is gone."""
    gc.collect()
    return _core.arena_info()["blocks"]


class Thread(threading.Thread):
    """A thread whose join fails loudly instead of hanging: it must not outlive
    its test."""

    def __init__(self, target, *args):
        super().__init__(target=target, args=args, daemon=True)
        self.start()

    def done(self):
        self.join(LIMIT / 2)
        if self.is_alive():
            raise AssertionError("a thread hangs")


class Alarm:
    """Runs `handler` in the main thread a moment from now, and again, until it
    raises or the block ends: a signal that comes before the wait must not be the
    only one, and one that comes after it would raise in the way out."""

    def __init__(self, handler):
        self.handler = handler
        self.count = 0

    def _call(self, signo, frame):
        self.count += 1
        try:
            self.handler()
        except BaseException:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self._call)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        return self

    def __exit__(self, *args):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


class Raised(Exception):
    pass


def raiser():
    raise Raised


def in_fork(function):
    """Exit status of a forked child that runs function()."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = function()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def refused(*calls):
    """How many of the calls raise the RuntimeError that explains forks."""
    count = 0
    for call in calls:
        try:
            call()
        except RuntimeError as error:
            count += "os.fork()" in str(error) and "freethreading.Worker" in str(error)
    return count


class Program:
    """A Python program in a process group of its own, ended by its pid."""

    def __init__(self, source, *args, how="script", env=None, **popen):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "program.py")
        with open(self.path, "w") as file:
            file.write(textwrap.dedent(source))
        command = {
            "script": [sys.executable, self.path],
            "module": [sys.executable, "-m", "program"],
            "command": [sys.executable, "-c", textwrap.dedent(source)],
            "stdin": [sys.executable, "-"],
            "zipapp": [sys.executable, os.path.join(self.folder.name, "program.pyz")],
        }[how]
        if how == "zipapp":
            self._zip()
        stdin = open(self.path) if how == "stdin" else subprocess.DEVNULL
        self.process = subprocess.Popen(
            [*command, *args],
            cwd=self.folder.name,
            env={**os.environ, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **popen,
        )
        if how == "stdin":
            stdin.close()
        self.pid = self.process.pid

    def _zip(self):
        import zipfile

        with zipfile.ZipFile(os.path.join(self.folder.name, "program.pyz"), "w") as archive:
            archive.write(self.path, "helper_module.py")
            archive.writestr("__main__.py", "import helper_module; helper_module.main()\n")

    def finish(self, limit=LIMIT):
        """(status, stdout, stderr); the test fails if it hangs."""
        try:
            out, err = self.process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"program hangs; stdout:\n{out}\nstderr:\n{err}") from None
        self.folder.cleanup()
        return self.process.returncode, out, err

    def kill(self):
        for pid in [*descendants(self.pid), self.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def run(source, *args, **options):
    return Program(source, *args, **options).finish()


class TestCase(unittest.TestCase):
    maxDiff = None

    def assertGone(self, pids, limit=2.0):
        left = [pid for pid in pids if not eventually(lambda: gone(pid), limit)]
        self.assertEqual(left, [], "processes are left behind")

    def assertRuns(self, source, *args, **options):
        status, out, err = run(source, *args, **options)
        self.assertEqual(status, 0, err)
        return out


class WorkerTestCase(TestCase):
    """Tests with workers, all of which end with the test."""

    def start(self, target, *args, **kwargs):
        worker = Worker(target=target, args=args, kwargs=kwargs)
        worker.start()
        self.addCleanup(self._end, worker)
        return worker

    @staticmethod
    def _end(worker):
        if worker.is_alive():
            worker.kill()
        worker.join(LIMIT)
