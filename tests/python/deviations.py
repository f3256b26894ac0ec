# SPDX-License-Identifier: MIT
"""Where CPython's own tests, run on ours by test_cpython_*.py, do not hold.

Each row is a test, or a pattern of tests, and a reason; words in front of the
reason say where it applies: "3.13+" and "3.12-" the versions, "processes" and
"threads" the backend.  yardstick.py reads them, and fails for a row that fits
no test.
"""

#: What is meant to be different.  These tests run, and must fail.
DEVIATIONS = {
    "test_cpython_primitives": {
        "TestLock.test_repr_rlock": (
            "3.14+ processes: a lock of a thread that has ended is free, and says so"
        ),
        "TestQueue.test_queue_feeder_donot_stop_onexc": (
            "processes: there is no feeder thread: put() itself raises what pickle raises"
        ),
    },
    "test_cpython_queues": {
        "QueueTest.test_shrinking_queue": "processes: maxsize can't be changed",
    },
    "test_cpython_threads": {
        "RLockTests.test_locked_with_2threads": (
            "3.14+ processes: a lock of a thread that has ended is free"
        ),
        "RLockTests.test_repr_count": "3.14+ threads: only its owner is told how often it has it",
    },
    "test_cpython_executors": {
        "ThreadPoolExecutorTest.test_default_workers": "threads: as many as there are CPUs",
        "ExecutorDeadlockTest.test_e*_unpickle*": (
            "processes: what can't be unpickled fails its own task only, with what was raised"
        ),
    },
}

#: What the API's text or its own tests want to be different.  These run and fail, too.
ASKED_FOR = {
    "test_cpython_executors": {
        "ExecutorDeadlockTest.test_error_at_task_pickle": (
            "processes: submit() raises ValueError, whatever pickle raises"
        ),
    },
    "test_cpython_pools": {
        "TestPool.test_map_unplicklable": "processes: ValueError, whatever pickle raises",
    },
    "test_cpython_threads": {
        "*LockTests.test_timeout": "threads: a negative timeout, but for -1, is no wait",
    },
}

#: Tests of threading's and queue's classes that ours between processes fail as
#: multiprocessing's do, whose part they play: those run them, too, and must fail.
AS_MULTIPROCESSING = {
    "test_cpython_threads": {
        "[!Ba]*.test_repr": "processes: a repr with other words in it",
        "RLockTests.test_repr_count": "3.14+ processes: a repr with other words in it",
        "BoundedSemaphoreTests.test_repr": "3.11+ processes: a repr with other words in it",
        "*.test_locked_repr": "processes: a repr with other words in it",
        "*LockTests.test_timeout": "processes: a negative timeout is no wait",
        "*SemaphoreTests.test_acquire_timeout": "processes: a timeout without blocking is ignored",
    },
    "test_cpython_queues": {
        "*.test_negative_timeout_raises_exception": "processes: a negative timeout is no wait",
    },
}

#: Tests that are not about ours: they use the standard library's classes
#: whatever they are given, or look at private attributes of those.
NOT_OURS = {
    "test_cpython_executors": {
        "ExecutorDeadlockTest.test_shutdown_deadlock_pickle": "processes: joins a thread of its",
        "ThreadPoolExecutorTest.test_executor_map_current_future_cancel": (
            "threads: calls a function that can't be pickled"
        ),
        "ThreadPoolExecutorTest.test_map_submits_without_iteration": (
            "threads: calls a function that can't be pickled"
        ),
        "FailingInitializerMixin.*": "looks at the log of concurrent.futures, and at _broken",
        "*PoolExecutorTest.test_saturation": "looks at the list of its workers",
        "*PoolExecutorTest.test_idle_*_reuse*": "looks at the list of its workers",
        "*PoolExecutorTest.test_killed_child": "processes: looks at the list of its workers",
        "*PoolExecutorTest.test_max_tasks_per_child*": (
            "3.11+ processes: looks at the list of its workers"
        ),
        "*PoolExecutorTest.test_terminate_workers": "3.14+ processes: replaces a private method",
        "*PoolExecutorTest.test_kill_workers": "3.14+ processes: replaces a private method",
        "*PoolExecutorTest.test_force_shutdown_workers": (
            "3.14+ processes: looks at the list of its workers"
        ),
        "*PoolExecutorTest.test_force_shutdown_workers_[ins]*": (
            "3.14+ processes: calls a private method, or looks at the list of its workers"
        ),
        "*PoolExecutorTest.test_max_workers_too_large": "processes: for another system",
        "*PoolExecutorTest.test_python_finalization_error": "3.12+ processes: replaces its threads",
        "*PoolShutdownTest.test_*_terminate": "looks at the list of its workers",
        "*PoolShutdownTest.test_context_manager_shutdown": "looks at the list of its workers",
        "*PoolShutdownTest.test_del_shutdown": "looks at the list of its workers",
        "*PoolShutdownTest.test_shutdown_no_wait": "looks at the list of its workers",
        "*PoolShutdownTest.test_*interpreter_shutdown": "imports it from concurrent.futures",
        "*PoolShutdownTest.test_shutdown_gh_132969_case_*": (
            "3.14+ processes: imports it from concurrent.futures"
        ),
        "*PoolShutdownTest.test_hang_gh83386": "imports it from concurrent.futures",
        "*PoolShutdownTest.test_cancel_futures": "takes a call for begun without waiting for it",
    },
    "test_cpython_primitives": {
        "TestQueue.test_closed_*": "threads: queues between threads are not closed",
        "TestSimpleQueue.test_close": "threads: queues between threads are not closed",
        "TestSimpleQueue.test_empty_exceptions": (
            "3.13+ threads: queues between threads are not closed"
        ),
        "TestQueue.test_no_import_lock_contention": "makes a multiprocessing.Queue",
        "TestQueue.test_queue_feeder_on_queue_feeder_error": "derives from multiprocessing.Queue",
        "TestSimpleQueue.test_closed": "looks at the ends of a pipe",
    },
    "test_cpython_queues": {
        "QueueTest.test_shutdown*": "3.13+: Queue has no shutdown()",
        "LoadTest.test_references": "processes: puts an object that can't be pickled",
    },
    "test_cpython_threads": {
        "*LockTests.test_at_fork_reinit": "processes: such locks are not for children of os.fork()",
        "EventTests.test_at_fork_reinit": "looks at the Condition that it is made of",
        "ConditionTests.test_acquire": "makes a Condition of threading.Lock",
    },
    "test_cpython_pools": {
        "TestPool.test_async_timeout": "3.13+ threads: passes an object that can't be pickled",
        "TestPool.test_make_pool": "looks at the list of processes",
    },
    "test_cpython_processes": {
        "TestProcess.test_forkserver_*": "kills the fork server of multiprocessing",
        "TestProcess.test_set_executable": "threads: they have no executable",
        "TestProcess.test_kill": "threads: nothing can kill a thread",
        "TestProcess.test_terminate": "threads: nothing can terminate a thread",
        "TestProcess.test_interrupt*": "3.14+ threads: nothing can interrupt a thread",
        "TestProcess.test_parent_process": (
            "processes: waits minutes for a worker that outlives its parent: ours die with it"
        ),
    },
}
