# SPDX-License-Identifier: MIT
"""Too little of everything: an error that says what is short, nothing lost, and
all works again when the shortage ends."""

import contextlib
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

os.environ["FT_BACKEND"] = "processes"

from support import LIMIT, TestCase, eventually

COMMON = """
    import ctypes, errno, gc, os, resource, sys, time
    from freethreading import Lock, Queue, Worker, WorkerPool, WorkerPoolExecutor

    def square(x):
        return x * x

    def echo(data):
        return data

    def rest():
        time.sleep(60)

    def whole(workers=2):
        with WorkerPool(workers) as pool:
            assert pool.map(square, range(50)) == [x * x for x in range(50)]
        with WorkerPoolExecutor(workers) as executor:
            assert executor.submit(square, 3).result(30) == 9
        gc.collect()

    def count():
        return len(os.listdir("/proc/self/fd"))

    def start_until_it_fails(most):
        workers = []
        try:
            for _ in range(most):
                worker = Worker(target=rest)
                worker.start()
                workers.append(worker)
        except OSError as error:
            return workers, error
        finally:
            for worker in workers:
                worker.kill()
            for worker in workers:
                worker.join(30)
                assert worker.exitcode == -9, worker.exitcode
        raise AssertionError("there was no shortage")
"""

#: What a memory control group is called, and its limits, in both versions.
GROUPS = {
    "/sys/fs/cgroup": ("memory.max", "memory.swap.max"),
    "/sys/fs/cgroup/memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
}
GROUP_MEMORY = 192 << 20


def write_limit(folder, name, value):
    """Into a file that is there already, as it is in a control group."""
    fd = os.open(os.path.join(folder, name), os.O_WRONLY)
    try:
        os.write(fd, b"%d" % value)
    finally:
        os.close(fd)


def make_group():
    """A control group with little memory and no swap; None if we may not have one."""
    for root, (memory, swap) in GROUPS.items():
        folder = os.path.join(root, f"ft-test-{os.getpid()}")
        try:
            os.mkdir(folder)
        except OSError:
            continue
        try:
            write_limit(folder, memory, GROUP_MEMORY)
        except OSError:
            os.rmdir(folder)
            continue
        # The first version counts memory and swap together; there may be none.
        with contextlib.suppress(OSError):
            write_limit(folder, swap, 0 if swap == "memory.swap.max" else GROUP_MEMORY)
        return folder
    return None


def remove_group(folder):
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


MAIN = """
    if __name__ == "__main__":
        main()
        print("whole")
"""


class ShortageTest(TestCase):
    def assertWhole(self, source, wrapper=(), env=None):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            path = os.path.join(folder, "program.py")
            with open(path, "w") as file:
                file.write(textwrap.dedent(COMMON + source + MAIN))
            done = subprocess.run(
                [*wrapper, sys.executable, path],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )
        self.assertEqual((done.returncode, done.stdout), (0, "whole\n"), done.stderr)

    def test_descriptors(self):
        self.assertWhole(
            """
    def main():
        whole()
        before = count()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        whole()
        workers, error = start_until_it_fails(100)
        assert error.errno == errno.EMFILE, repr(error)
        assert len(workers) > 20, len(workers)
        del workers, error
        gc.collect()
        whole()
        # Spare workers leave half a second after the last start.
        late = time.monotonic() + 10
        while count() > before and time.monotonic() < late:
            time.sleep(0.02)
        assert count() == before, (count(), before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        whole()
"""
        )

    def test_no_descriptor_at_all(self):
        """The first use fails for want of descriptors; the next does not."""
        self.assertWhole(
            """
    def main():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for few in range(count(), count() + 12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
            try:
                whole(1)
                break
            except OSError as error:
                assert error.errno in (errno.EMFILE, errno.EAGAIN), repr(error)
        else:
            few = 64
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        whole()
"""
        )

    def test_processes(self):
        """Root has no limit, so that the program is somebody else's, who may do
        what root may to files only."""
        self.assertWhole(
            """
    def be_limited():
        libc = ctypes.CDLL(None, use_errno=True)
        sys_admin, sys_resource, PR_CAPBSET_DROP = 21, 24, 24
        header, caps = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        for cap in (sys_admin, sys_resource):
            assert libc.prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0
        os.setresuid(65000 + os.getpid() % 500, 0, 0)
        assert libc.capget(header, caps) == 0
        for kind in range(3):
            caps[kind] &= ~(1 << sys_admin | 1 << sys_resource)
        assert libc.capset(header, caps) == 0

    def main():
        if os.getuid() == 0:
            be_limited()
        # Before the helper starts, which has the limit it began with.
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (12, hard))
        whole()
        workers, error = start_until_it_fails(100)
        assert error.errno == errno.EAGAIN, repr(error)
        del workers, error
        whole()
"""
        )

    def test_address_space(self):
        self.assertWhole(
            """
    def main():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        whole()
        with WorkerPool(2) as pool:
            assert pool.apply(echo, (bytes(1 << 20),)) == bytes(1 << 20)
            for size in (3 << 30, 1 << 30):
                try:
                    pool.apply(bytes, (size,))
                    raise AssertionError("there was no shortage")
                except MemoryError:
                    pass
            assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
"""
        )

    def test_arena(self):
        """An arena of 64 MiB: what does not fit is refused, what does goes on."""
        self.assertWhole(
            """
    def main():
        with WorkerPool(2) as pool:
            for _ in range(3):
                try:
                    pool.apply(echo, (bytes(80 << 20),))
                    raise AssertionError("there was no shortage")
                except MemoryError:
                    pass
                assert pool.apply(echo, (bytes(8 << 20),)) == bytes(8 << 20)
        queue = Queue()
        put = 0
        try:
            while put < 100:
                queue.put(bytes(4 << 20))
                put += 1
            raise AssertionError("there was no shortage")
        except MemoryError:
            pass
        assert put and [len(queue.get()) for _ in range(put)] == [4 << 20] * put
        whole()
""",
            env={"FT_ARENA_SIZE": "64M"},
        )

    def test_file_size(self):
        """RLIMIT_FSIZE counts for the arena, too: it takes what is left."""
        self.assertWhole(
            """
    def main():
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            Lock()
            raise AssertionError("there was no shortage")
        except OSError as error:
            assert error.errno == errno.EFBIG, repr(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200 << 20, hard))
        whole()
"""
        )

    GREEDY = """
    def fill(megabytes):
        # The OOM killer takes the largest; this says that it may be this one.
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        pages = []
        for _ in range(megabytes):
            pages.append(b"x" * (1 << 20))
        return len(pages)

    def main():
        with WorkerPool(2) as pool, WorkerPoolExecutor(2) as executor:
            for turn in range(3):
                calm = [pool.apply_async(square, (x,)) for x in range(40)]
                greedy = pool.apply_async(fill, (400,))
                future = executor.submit(fill, 400)
                for failed in (lambda: greedy.get(60), lambda: future.result(60)):
                    try:
                        failed()
                        raise AssertionError("there was no shortage")
                    except DEATH as error:
                        check(error)
                assert [r.get(60) for r in calm] == [x * x for x in range(40)]
                assert pool.apply(fill, (3,)) == 3
                assert executor.submit(square, 7).result(60) == 49
        whole()
"""

    def test_memory_of_a_group(self):
        """The OOM killer takes a worker: its task alone fails, and says so."""
        group = make_group()
        if not group:
            self.limited_memory()
            return
        join = f'echo $$ >{group}/cgroup.procs && exec "$@"'
        try:
            self.assertWhole(
                """
    from freethreading import WorkerDiedError as DEATH

    def check(error):
        assert error.signal == 9 and "while it ran task" in str(error), error
"""
                + self.GREEDY,
                ["sh", "-c", join, "sh"],
            )
        finally:
            self.assertTrue(eventually(lambda: remove_group(group)))

    def limited_memory(self):
        """Where there are no such groups for us: workers that get no memory."""
        print("no control group for memory: RLIMIT_DATA in workers instead", file=sys.stderr)
        self.assertWhole(
            """
    DEATH = MemoryError

    def check(error):
        pass
"""
            + self.GREEDY.replace(
                "pages = []",
                "pages = []\n        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]"
                "\n        resource.setrlimit(resource.RLIMIT_DATA, (150 << 20, hard))",
            )
        )

    def test_no_shared_memory_folder(self):
        """/dev/shm read-only, or too small for anything: nobody needs it."""
        for options in ("ro", "size=4k"):
            mount = f"mount -t tmpfs -o {options} none /dev/shm && exec "
            wrapper = ["unshare", "-m", "sh", "-c", mount + '"$@"', "sh"]
            allowed = subprocess.run([*wrapper, "true"], stderr=subprocess.DEVNULL)
            if allowed.returncode:
                wrapper = []  # still a program like others
            with self.subTest(options):
                self.assertWhole(
                    """
    def main():
        whole()
""",
                    wrapper,
                )


if __name__ == "__main__":
    unittest.main()
