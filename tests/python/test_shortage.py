# SPDX-License-Identifier: MIT
"""Too little of everything: an error that says what is short, nothing lost, and
all works again when the shortage ends."""

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

os.environ["FT_BACKEND"] = "processes"

from support import LIMIT, TestCase

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
