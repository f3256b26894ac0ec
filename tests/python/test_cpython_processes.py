#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of its processes, run on Worker."""

import unittest

import freethreading
import yardstick

cpython = yardstick.cpython("_test_multiprocessing")
setUpModule, tearDownModule = yardstick.stand_in(cpython)
Ours = yardstick.names(cpython)

# The test of subclassing names a subclass: the same one, of our Worker.
_UpperCaser = type(
    "_UpperCaser",
    (freethreading.Worker,),
    {**vars(cpython._UpperCaser), "__module__": __name__},
)
cpython._UpperCaser = _UpperCaser

suite = yardstick.Suite(globals(), "test_cpython_processes")
suite.adopt(cpython._TestProcess, Ours)
suite.adopt(cpython._TestSubclassingProcess, Ours)
suite.finish()

if __name__ == "__main__":
    unittest.main()
