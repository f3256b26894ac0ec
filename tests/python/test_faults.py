# SPDX-License-Identifier: MIT
"""What users' own code does to a program with workers: nothing hangs, nothing is
lost or done twice, survivors go on, nothing is left behind, and errors name the
cause, the worker and the task."""

import os
import signal
import unittest

os.environ["FT_BACKEND"] = "processes"

from support import LIMIT, Program, TestCase, descendants, eventually, state

#: Every program below does some harm, and must still be whole then.
WHOLE = """
    import gc, os, signal, sys, threading, time
    from multiprocessing import TimeoutError
    from freethreading import (Lock, Queue, Worker, WorkerDiedError, WorkerPool,
                               WorkerPoolExecutor)

    def square(x):
        return x * x

    def put(queue, item):
        queue.put(item)

    def own_fds():
        return {fd for fd in os.listdir("/proc/self/fd") if fd.isdigit()}

    def whole():
        with WorkerPool(2) as pool:
            assert pool.map(square, range(100)) == [x * x for x in range(100)]
        with WorkerPoolExecutor(2) as executor:
            assert executor.submit(square, 3).result(30) == 9
        queue = Queue()
        worker = Worker(target=put, args=(queue, "item"))
        worker.start()
        assert queue.get(timeout=30) == "item"
        worker.join(30)
        assert worker.exitcode == 0, worker.exitcode

    def lost(pool, function, *args):
        try:
            pool.apply(function, args)
        except WorkerDiedError as error:
            return error
        raise AssertionError("nobody died")
"""

MAIN = """
    if __name__ == "__main__":
        main()
        print("whole")
"""


class FaultTest(TestCase):
    def assertWhole(self, source, **options):
        """The program says at its end that it is whole, and nothing else."""
        program = Program(WHOLE + source + MAIN, **options)
        self.addCleanup(program.kill)
        status, out, err = program.finish()
        self.assertEqual((status, out), (0, "whole\n"), err)
        return err


class ProgramTest(FaultTest):
    """Harm done in the program."""

    def test_waits_for_any_child(self):
        """A thread that reaps whatever it finds: exit codes stay right."""
        self.assertWhole(
            """
    def reap(stop):
        while not stop.is_set():
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass
            time.sleep(0.0005)

    def main():
        stop = threading.Event()
        thread = threading.Thread(target=reap, args=(stop,))
        thread.start()
        try:
            whole()
            worker = Worker(target=sys.exit, args=(7,))
            worker.start()
            worker.join(30)
            assert worker.exitcode == 7, worker.exitcode
        finally:
            stop.set()
            thread.join()
"""
        )

    def test_sigchld(self):
        for action in ("signal.SIG_IGN", "lambda *args: calls.append(args)"):
            with self.subTest(action):
                self.assertWhole(
                    f"""
    calls = []
    def main():
        signal.signal(signal.SIGCHLD, {action})
        whole()
        worker = Worker(target=sys.exit, args=(7,))
        worker.start()
        worker.join(30)
        assert worker.exitcode == 7, worker.exitcode
"""
                )

    def test_forks(self):
        self.assertWhole(
            """
    def main():
        pool = WorkerPool(2)
        assert pool.map(square, range(10)) == [x * x for x in range(10)]
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            assert os.waitpid(pid, 0) == (pid, 0)
            assert pool.map(square, range(10)) == [x * x for x in range(10)]
        pool.close()
        pool.join()
        whole()
"""
        )

    def test_folder_and_environment(self):
        self.assertWhole(
            """
    def main():
        whole()
        gone = os.path.join(os.getcwd(), "gone")
        os.mkdir(gone)
        os.chdir(gone)
        os.rmdir(gone)
        sys.path[:] = [path for path in sys.path if path]
        os.environ["CHANGED"] = "yes"
        whole()
        os.environ.clear()
        whole()
"""
        )

    def test_signal_storm(self):
        """A handler a thousand times a second, while all of it runs."""
        self.assertWhole(
            """
    count = 0
    def handler(*args):
        global count
        count += 1

    def main():
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(3):
            whole()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert count > 20, count
"""
        )

    def test_descriptors_closed_before_the_start(self):
        """As daemons do: what a program closes first is not ours yet."""
        self.assertWhole(
            """
    def main():
        os.closerange(3, 1000)
        whole()
"""
        )

    def test_descriptors_closed_at_work(self):
        """What lies above is not reached: deaths are seen, and new workers started."""
        self.assertWhole(
            """
    def main():
        with WorkerPool(2) as pool:
            assert pool.map(square, range(50)) == [x * x for x in range(50)]
            worker = Worker(target=time.sleep, args=(60,))
            worker.start()
            later = pool.apply_async(square, (3,))
            os.closerange(3, 1001)
            assert later.get(30) == 9
            assert pool.map(square, range(50)) == [x * x for x in range(50)]
            try:
                pool.apply_async(os._exit, (3,)).get(30)
            except WorkerDiedError:
                pass
            else:
                raise AssertionError("a death was not seen")
            assert pool.map(square, range(50)) == [x * x for x in range(50)]
        worker.kill()
        worker.join(30)
        assert worker.exitcode == -signal.SIGKILL, worker.exitcode
        whole()
"""
        )

    def test_nothing_piles_up(self):
        """Spare workers leave by themselves, half a second after the last start."""
        self.assertWhole(
            """
    def what(fd):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
            if "pidfd" in name:
                with open(f"/proc/self/fdinfo/{fd}") as info:
                    name += " " + info.read().partition("Pid:")[2].split()[0]
        except FileNotFoundError:  # that of the listing
            return "gone"
        return name.partition(":")[0] if name.startswith(("pipe", "socket")) else name

    def things():
        gc.collect()
        return sorted(map(what, own_fds())), threading.active_count()

    def settled(wanted):
        late = time.monotonic() + 20
        while (now := things()) != wanted and time.monotonic() < late:
            time.sleep(0.01)
        return now

    def first():
        late = time.monotonic() + 3
        least = things()
        while time.monotonic() < late:
            time.sleep(0.01)
            least = min(least, things(), key=lambda now: (len(now[0]), now[1]))
        return least

    def main():
        whole()
        before = first()
        for _ in range(5):
            whole()
        after = settled(before)
        assert after == before, (before, after)
"""
        )

    def test_nothing_is_kept(self):
        """What was joined or shut down has no descriptors, whoever refers to it."""
        self.assertWhole(
            """
    def used():
        pool, executor = WorkerPool(2), WorkerPoolExecutor(2)
        assert pool.apply(square, (2,)) == 4
        assert pool.apply_async(square, (3,), callback=square).get(30) == 9
        assert executor.submit(square, 4).result(30) == 16
        pool.close()
        pool.join()
        executor.shutdown()
        return pool, executor

    def count(kind):
        links = []
        for fd in own_fds():
            try:
                links.append(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                continue
        return sum(kind in link for link in links)

    def main():
        gc.disable()
        kept = [used() for _ in range(2)]
        assert count("io_uring") == 0, count("io_uring")
        # The helper's is left; spares leave by themselves.
        while count("pidfd") > 1:
            time.sleep(0.01)
"""
        )

    def test_main_thread_is_gone(self):
        """The main thread ends first: other threads' workers go on."""
        out = self.assertRuns(
            WHOLE
            + """
    def late():
        threading.main_thread().join()
        with WorkerPool(2) as pool:
            print(pool.map(square, range(4)))

    if __name__ == "__main__":
        with WorkerPool(1) as pool:
            pool.apply(square, (1,))
        threading.Thread(target=late).start()
"""
        )
        self.assertEqual(out, "[0, 1, 4, 9]\n")


class TaskTest(FaultTest):
    """Harm done in a task: it costs that task at most."""

    def test_endings(self):
        """os._exit, abort, a bad pointer and every fatal signal: the error says
        which, who and what, and no other task is lost."""
        self.assertWhole(
            """
    import ctypes, re, resource
    def crash():
        ctypes.string_at(0)
    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    def me(how, number):
        os.kill(os.getpid(), number)

    def main():
        with WorkerPool(2, initializer=limit) as pool:
            others = pool.map_async(square, range(200))
            for function, args, signo, code in (
                (os._exit, (5,), 0, 5),
                (os.abort, (), signal.SIGABRT, -signal.SIGABRT),
                (crash, (), signal.SIGSEGV, -signal.SIGSEGV),
                (me, ("kill", signal.SIGKILL), signal.SIGKILL, -signal.SIGKILL),
                (me, ("bus", signal.SIGBUS), signal.SIGBUS, -signal.SIGBUS),
            ):
                error = lost(pool, function, *args)
                assert (error.signal, error.exitcode) == (signo, code), error
                assert error.pid and error.task and error.name, vars(error)
                assert str(error.pid) in str(error) and error.name in str(error)
            assert others.get(60) == [x * x for x in range(200)]
        whole()
"""
        )

    def test_recursion(self):
        self.assertWhole(
            """
    def deep(n):
        return deep(n + 1)
    def main():
        with WorkerPool(1) as pool:
            pid = pool.apply(os.getpid)
            for _ in range(3):
                try:
                    pool.apply(deep, (0,))
                    raise AssertionError("no error")
                except RecursionError:
                    pass
            assert pool.apply(os.getpid) == pid
"""
        )

    def test_threads(self):
        """Threads that a task leaves behind neither hold nor break its worker."""
        self.assertWhole(
            """
    def leave(lock):
        def hold():
            with lock:
                pass
        for daemon in (True, False):
            threading.Thread(target=hold, daemon=daemon).start()
        return threading.active_count()
    def main():
        lock = Lock()
        with WorkerPool(2) as pool:
            assert pool.map(leave, [lock] * 8)
        assert lock.acquire(timeout=30)
        lock.release()
        whole()
"""
        )

    def test_descriptors_closed(self):
        """A task that closes 3 to 1000 is its worker's last at worst."""
        self.assertWhole(
            """
    def close():
        os.closerange(3, 1000)
    def main():
        with WorkerPool(2) as pool:
            for _ in range(3):
                try:
                    pool.apply_async(close).get(30)
                except WorkerDiedError:
                    pass
                assert pool.map(square, range(50)) == [x * x for x in range(50)]
        worker = Worker(target=close)
        worker.start()
        worker.join(30)
        assert worker.exitcode == 0, worker.exitcode
        whole()
"""
        )

    def test_folder_and_signals(self):
        """A task's own folder, handlers and mask stay its worker's."""
        self.assertWhole(
            """
    def change(folder):
        os.chdir("/")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        signal.setitimer(signal.ITIMER_REAL, 1000)
    def main():
        here = os.getcwd()
        with WorkerPool(2) as pool:
            pool.map(change, [here] * 4)
            assert pool.map(square, range(9)) == [x * x for x in range(9)]
        assert os.getcwd() == here
        whole()
"""
        )

    def test_forks(self):
        """A forked child of a worker does not stand for the worker."""
        self.assertWhole(
            """
    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        return os.waitpid(pid, 0)[1]
    def main():
        with WorkerPool(2) as pool:
            assert pool.map(square, range(5)) and pool.apply(fork) == 0
            assert [pool.apply(fork) for _ in range(4)] == [0] * 4
        whole()
"""
        )


class OutsideTest(FaultTest):
    """Harm done from outside, to a program that is at work."""

    CHILDREN = """
    def children():
        pids = []
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children") as file:
                pids += map(int, file.read().split())
        return pids

    def rest(x):
        time.sleep(0.03)
        return x
"""

    def test_random_kills(self):
        """Workers and helper, whoever is there: each kill costs a task at most,
        and no result is wrong, missing or doubled."""
        self.assertWhole(
            self.CHILDREN
            + """
    def main():
        import random
        random.seed(1)
        ended, lost, kills = [], 0, 0
        with WorkerPool(3) as pool:
            results = [
                pool.apply_async(rest, (x,), callback=ended.append) for x in range(120)
            ]
            for _ in range(12):
                time.sleep(0.05)
                victims = children()
                if victims:
                    os.kill(random.choice(victims), signal.SIGKILL)
                    kills += 1
            for x, result in enumerate(results):
                try:
                    assert result.get(60) == x
                except WorkerDiedError as error:
                    assert error.signal == signal.SIGKILL, error
                    lost += 1
        assert kills and lost <= kills, (lost, kills)
        assert len(ended) == len(set(ended)) == 120 - lost, (len(ended), lost)
        whole()
"""
        )

    def test_stopped_is_not_dead(self):
        """SIGSTOP: a task waits for its worker, and nothing is stolen."""
        self.assertWhole(
            self.CHILDREN
            + """
    def slow():
        time.sleep(1)
        return os.getpid()

    def main():
        with WorkerPool(2) as pool:
            pids = [p for p in set(pool.map(os_getpid, range(50))) if p in children()]
            tasks = [pool.apply_async(slow) for _ in pids]
            time.sleep(0.3)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            for task in tasks:
                try:
                    task.get(1)
                    raise AssertionError("a stopped worker answered")
                except TimeoutError:
                    pass
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            assert {task.get(30) for task in tasks} <= set(pids)
            assert pool.map(square, range(3)) == [0, 1, 4]
        whole()

    def os_getpid(x):
        time.sleep(0.005)
        return os.getpid()
"""
        )

    def test_program_killed_with_a_stopped_worker(self):
        """Everything goes within a second, whatever it was doing."""
        program = Program(
            WHOLE
            + """
    def sleep(queue):
        queue.put(os.getpid())
        time.sleep(60)
    def main():
        pool = WorkerPool(2)
        pool.map(square, range(10))
        pool.map_async(time.sleep, [60] * 4)
        queue = Queue()
        worker = Worker(target=sleep, args=(queue,))
        worker.start()
        os.kill(queue.get(timeout=30), signal.SIGSTOP)
        print("ready", flush=True)
        time.sleep(60)
    if __name__ == "__main__":
        main()
"""
        )
        self.addCleanup(program.kill)
        self.assertEqual(program.process.stdout.readline(), "ready\n")
        pids = descendants(program.pid)
        self.assertGreaterEqual(len(pids), 3)
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(LIMIT)
        eventually(lambda: all(state(pid) in (None, "Z") for pid in pids), 2.0)
        self.assertLessEqual({state(pid) for pid in pids}, {None, "Z"})
        program.finish()


if __name__ == "__main__":
    unittest.main()
