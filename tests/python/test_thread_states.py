#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What an OS thread does between two workers: foreign code that runs there gets a
thread state of its own, and the program's end waits for none of it."""

import unittest

import support

#: With faulthandler the main thread has a signal stack of its own, so that no
#: OS thread runs a second worker for it.
THREADS = {"FT_BACKEND": "threads", "PYTHONDEVMODE": "", "PYTHONFAULTHANDLER": ""}

#: Finds out which thread state runs here, and starts C workers on OS threads
#: that a Python worker has left.
PRELUDE = """
    import ctypes, threading
    from freethreading import Worker, _core

    lib = ctypes.CDLL(_core.__file__)
    libc = ctypes.CDLL(None)
    api = ctypes.pythonapi
    api.PyThreadState_Get.restype = ctypes.c_void_p
    api.PyThreadState_GetID.restype = ctypes.c_uint64
    api.PyThreadState_GetID.argtypes = [ctypes.c_void_p]
    main_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)

    class Options(ctypes.Structure):
        _fields_ = [
            ("size", ctypes.c_size_t), ("kind", ctypes.c_uint32), ("flags", ctypes.c_uint32),
            ("name", ctypes.c_char_p), ("cpus", ctypes.c_void_p),
            ("stack_size", ctypes.c_size_t), ("spawner", ctypes.c_void_p),
            ("payload", ctypes.c_void_p), ("payload_size", ctypes.c_size_t),
        ]

    def state():
        return api.PyThreadState_GetID(api.PyThreadState_Get())

    FOREVER = ctypes.c_int64(2**63 - 1)

    def start_c(main, arg):
        options = Options(size=ctypes.sizeof(Options), kind=1, flags=0x100)
        worker = ctypes.c_void_p()
        main = ctypes.cast(main, ctypes.c_void_p)
        assert lib.ft_worker_start(ctypes.byref(worker), ctypes.byref(options), main,
                                   ctypes.c_void_p(arg)) == 0
        return worker

    seen = []

    def call(function):
        seen.append(threading.get_native_id())
        function()

    def run_python(function):
        # Its OS thread's number; the worker has left it, which waits a moment.
        worker = Worker(target=call, args=(function,))
        worker.start()
        worker.join()
        return seen.pop()

    def end_c(worker):
        assert lib.ft_worker_join(worker, FOREVER) == 0
        assert lib.ft_worker_release(worker) == 0

    def run_both(function, main, arg, stop=lambda: None):
        # A C worker on the OS thread of a Python worker that has just ended.  It is
        # left by then, or not there yet, on a busy machine; `stop` ends what runs
        # elsewhere, if it does not end by itself.
        for _ in range(1000):
            before = run_python(function)
            worker = start_c(main, arg)
            if lib.ft_worker_pid(worker) == before:
                return worker
            stop()
            end_c(worker)
        raise SystemExit("no OS thread was used again")
"""


class ForeignTest(support.TestCase):
    def test_c_worker(self):
        """A C worker that calls Python has a state of its own.  Only free-threaded
        3.13 keeps the states of OS threads: elsewhere they can't but differ."""
        out = self.assertRuns(
            PRELUDE
            + """
    states = {}
    def python():
        states["python"] = state()
    @main_type
    def c(arg):
        states["c"] = state()
        return 0
    for _ in range(20):
        worker = run_both(python, c, None)
        end_c(worker)
        assert states["python"] != states["c"], states
    run_python(python)
    print("ok")
            """,
            env=THREADS,
        )
        self.assertEqual(out, "ok\n")

    def test_destructors(self):
        """So has the destructor of a thread's local, of C's kind and of C++'s; that
        they differ says as little elsewhere."""
        out = self.assertRuns(
            PRELUDE
            + """
    states, gone = {}, threading.Event()
    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def destructor(value):
        states[value] = state()
        if len(states) == 3:
            gone.set()
    def python():
        key = ctypes.c_uint()
        states["python"] = state()
        assert libc.pthread_key_create(ctypes.byref(key), destructor) == 0
        assert libc.pthread_setspecific(key, ctypes.c_void_p(1)) == 0
        assert libc.__cxa_thread_atexit_impl(destructor, ctypes.c_void_p(2), libc.sleep) == 0
    run_python(python)
    assert gone.wait(50)
    assert states["python"] not in (states[1], states[2]), states
    print("ok")
            """,
            env=THREADS,
        )
        self.assertEqual(out, "ok\n")


class EndTest(support.TestCase):
    def test_beside_c_work(self):
        """The program's end does not wait for what C does on a thread where Python
        has been."""
        out = self.assertRuns(
            PRELUDE
            + """
    libc.calloc.restype = ctypes.c_void_p
    semaphore = libc.calloc(1, 64)  # there is still use of it when Python's memory is gone
    given = ctypes.c_void_p(semaphore)
    assert libc.sem_init(given, 0, 0) == 0
    run_both(int, libc.sem_wait, semaphore, lambda: libc.sem_post(given))
    print("ended")
            """,
            env=THREADS,
        )
        self.assertEqual(out, "ended\n")

    def test_interrupted(self):
        """Nor is a state left to a thread when Ctrl-C ends the wait for workers."""
        out = self.assertRuns(
            PRELUDE
            + """
    import os, signal
    ready = threading.Event()
    def interrupt():
        threading.main_thread().join()  # it waits for us now
        for _ in range(20):
            run_python(int)
        os.kill(os.getpid(), signal.SIGINT)
        ready.wait()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Worker(target=interrupt).start()
    run_python(int)
    print("waiting", flush=True)
            """,
            env=THREADS,
        )
        self.assertEqual(out, "waiting\n")


if __name__ == "__main__":
    unittest.main()
