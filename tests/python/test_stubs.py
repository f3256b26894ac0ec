#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The type stubs say what is there, on both backends, and everything public is
documented."""

import ast
import importlib
import inspect
import os
import sys
import unittest
from unittest import mock

import freethreading
from support import TestCase

BACKENDS = ("threads", "processes")

#: Where the stub names a class that is no name of the package.
RESULTS = {"AsyncResult": "apply_async", "IMapIterator": "imap"}

#: What one backend has alone, and the stub says all the same.
METHODS = {
    "WorkerPoolExecutor.terminate_workers": "processes",
    "WorkerPoolExecutor.kill_workers": "processes",
}
PARAMETERS = {("Worker.__init__", "*context"): "threads"}


def stub():
    path = os.path.join(os.path.dirname(freethreading.__file__), "__init__.pyi")
    with open(path) as file:
        return ast.parse(file.read()).body


def members(node):
    """What a class of the stub has on this version of Python."""
    for item in node.body:
        if isinstance(item, ast.If):
            test = compile(ast.Expression(item.test), "stub", "eval")
            yield from item.body if eval(test, {"sys": sys}) else item.orelse
        else:
            yield item


def elsewhere(owners, key):
    """Whether the other backend has it alone."""
    return owners.get(key, os.environ["FT_BACKEND"]) != os.environ["FT_BACKEND"]


def stub_parameters(function):
    """[(name, default)] without self; a star for what comes after * or *args."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    without = [ast.Constant(...)] * (len(positional) - len(arguments.defaults))
    defaults = [ast.literal_eval(d) for d in [*without, *arguments.defaults]]
    found = [(a.arg, d) for a, d in zip(positional, defaults)]
    for keyword, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        value = ... if default is None else ast.literal_eval(default)
        found.append((f"*{keyword.arg}", value))
    return found[1:] if found and found[0][0] == "self" else found


def real_parameters(function):
    found = []
    for parameter in inspect.signature(function).parameters.values():
        default = ... if parameter.default is parameter.empty else parameter.default
        if parameter.kind == parameter.KEYWORD_ONLY:
            found.append((f"*{parameter.name}", default))
        elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            found.append((parameter.name, default))
    return found[1:] if found and found[0][0] == "self" else found


def is_ours(name, kind):
    return any(
        name in base.__dict__ for base in kind.__mro__ if base.__module__.startswith("freethr")
    )


class StubTest(TestCase):
    def setUp(self):
        patch = mock.patch.dict(os.environ)
        patch.start()
        self.addCleanup(importlib.reload, freethreading)
        self.addCleanup(patch.stop)

    def packages(self):
        for backend in BACKENDS:
            os.environ["FT_BACKEND"] = backend
            yield importlib.reload(freethreading)

    def classes(self, package):
        """(stub, class) of each in the stub."""
        pool = package.WorkerPool(1)
        try:
            for node in stub():
                if not isinstance(node, ast.ClassDef):
                    continue
                if node.name == "AsyncResult":
                    yield node, type(pool.apply_async(abs, (1,)))
                elif node.name == "IMapIterator":
                    yield node, type(pool.imap(abs, [1]))
                else:
                    yield node, getattr(package, node.name)
        finally:
            pool.terminate()
            pool.join()

    def check_function(self, node, real, where):
        said, there = stub_parameters(node), real_parameters(real)
        said = [(name, value) for name, value in said if not elsewhere(PARAMETERS, (where, name))]
        kinds = [p.kind for p in inspect.signature(real).parameters.values()]
        if inspect.Parameter.VAR_KEYWORD in kinds:
            said = [(name, default) for name, default in said if name[0] != "*"]
        # A backend may have more than both have, but only what need not be given.
        self.assertEqual(there[: len(said)], said, where)
        self.assertNotIn(..., [default for _, default in there[len(said) :]], where)

    def check_class(self, node, kind):
        for item in members(node):
            if isinstance(item, ast.AnnAssign):
                continue  # an instance's
            if not isinstance(item, ast.FunctionDef):
                continue
            where = f"{node.name}.{item.name}"
            if elsewhere(METHODS, where):
                self.assertFalse(hasattr(kind, item.name), where)
            elif any(isinstance(d, ast.Name) and d.id == "property" for d in item.decorator_list):
                self.assertTrue(inspect.isdatadescriptor(getattr(kind, item.name)), where)
            elif item.name == "__init__":
                self.check_function(item, kind, where)
            elif not item.name.startswith("__"):
                self.check_function(item, getattr(kind, item.name), where)
            else:
                getattr(kind, item.name)

    def test_what_it_says_is_there(self):
        for package in self.packages():
            for node in stub():
                if isinstance(node, ast.FunctionDef):
                    self.check_function(node, getattr(package, node.name), node.name)
            for node, kind in self.classes(package):
                self.check_class(node, kind)

    def test_what_is_there_it_says(self):
        named = {node.name for node in stub() if hasattr(node, "name")}
        for package in self.packages():
            self.assertEqual(set(package.__all__) - named, set())
            self.assertEqual(named - set(package.__all__), set(RESULTS))

    def test_methods_of_both_backends_are_said(self):
        methods = {}
        for package in self.packages():
            for node, kind in self.classes(package):
                public = {n for n in dir(kind) if n[0] != "_" and is_ours(n, kind)}
                methods.setdefault(node.name, []).append(public)
        for node in stub():
            if not isinstance(node, ast.ClassDef):
                continue
            said = {item.name for item in members(node) if isinstance(item, ast.FunctionDef)}
            said |= {item.target.id for item in members(node) if isinstance(item, ast.AnnAssign)}
            for base in node.bases:
                said |= {n for other in stub() if getattr(other, "name", "") == ast.unparse(base)
                         for n in (i.name for i in other.body if hasattr(i, "name"))}  # fmt: skip
            there = set.intersection(*methods[node.name])
            self.assertEqual(there - said, set(), node.name)

    def test_everything_is_documented(self):
        for package in self.packages():
            for name in package.__all__:
                self.assertTrue(getattr(package, name).__doc__, name)
            for node, kind in self.classes(package):
                for name in dir(kind):
                    if name[0] != "_" and is_ours(name, kind) and name != "pid":
                        self.assertTrue(getattr(kind, name).__doc__, f"{node.name}.{name}")

    def test_the_oldest_python_can_parse_it(self):
        """What runs the tests may know more than Python 3.10 does."""
        folder = os.path.dirname(freethreading.__file__)
        names = [name for name in os.listdir(folder) if name.endswith((".py", ".pyi"))]
        self.assertIn("__init__.pyi", names)
        for name in names:
            with self.subTest(name), open(os.path.join(folder, name)) as file:
                ast.parse(file.read(), feature_version=(3, 10))

    def test_arguments_by_position_and_by_name(self):
        """As the API text writes them."""
        for package in self.packages():
            queue = package.Queue(maxsize=0)
            queue.put(item=1, block=True, timeout=None)
            queue.put_nowait(item=2)
            self.assertEqual([queue.get(block=True, timeout=5), queue.get(False)], [1, 2])
            with package.WorkerPoolExecutor(max_workers=1) as executor:
                executor.shutdown(True, False)
            self.assertTrue(package.Lock().acquire(blocking=True, timeout=None))
            self.assertEqual(package.Barrier(parties=1, action=None, timeout=None).wait(None), 0)
            simple = package.SimpleQueue()
            simple.put(item=3)
            self.assertEqual(simple.get(), 3)


if __name__ == "__main__":
    unittest.main()
