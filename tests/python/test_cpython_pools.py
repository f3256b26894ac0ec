#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of its pools, run on WorkerPool."""

import unittest

import yardstick

cpython = yardstick.cpython("_test_multiprocessing")
setUpModule, tearDownModule = yardstick.stand_in(cpython)
Ours = yardstick.names(cpython)

suite = yardstick.Suite(globals(), "test_cpython_pools")
suite.adopt(cpython._TestPool, Ours)
suite.adopt(cpython._TestPoolWorkerErrors, Ours)
suite.finish()

if __name__ == "__main__":
    unittest.main()
