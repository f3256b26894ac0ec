# SPDX-License-Identifier: MIT
"""What travels to workers and back: every object arrives as pickle would bring it."""

import collections
import enum
import functools
import gc
import math
import os
import random
import sys
import unittest
from array import array
from pickle import PickleBuffer

# What travels between processes, whatever the program's choice would be.
os.environ["FT_BACKEND"] = "processes"

from freethreading import WorkerPool
from support import LIMIT, TestCase, blocks, eventually

Point = collections.namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    pass


class Whole:
    """Pickles its bytes out of band, and notices whether they came so."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Whole, (PickleBuffer(self.data),)

    def __eq__(self, other):
        return bytes(self.data) == bytes(other.data)


class Counter:
    def __init__(self):
        self.count = 0

    def __call__(self, _=None):
        return self.count

    def method(self, x):
        return self.count + x

    @staticmethod
    def static(x):
        return -x


def echo(*args, **kwargs):
    return (args, kwargs) if kwargs else args


def same(x):
    return x


def identities(pair):
    return pair[0] is pair[1]


def kind(x):
    return type(x).__name__


_kept = []


def keep(x):
    _kept.append(x)
    return len(x.data)


def kept():
    return [bytes(x.data) for x in _kept]


def write(x):
    memoryview(x.data).cast("B")[0] = 7
    return x


def shout(x):
    return x


SCALARS = [
    None, True, False, 0, 1, -1, 127, 128, -128, -129, 2**31, -(2**63), 2**63 - 1, 2**63,
    -(2**63) - 1, 10**100, 0.0, -0.0, 1.5, math.inf, -math.inf, 5e-324, "", "a", "\x00", "é",
    "\u20ac", "\U0001f600", "\ud800", "x" * 4095, "x" * 4096, "x" * 4097, "é" * 5000, b"",
    b"\x00", b"y" * 4096, b"y" * 65535, b"y" * 65536, b"y" * (1 << 20), 1j, ..., Colour.RED,
    Text("t"), Point(1, 2), range(3), frozenset({1}), bytearray(b"ba"),
]

CONTAINERS = [
    (), [], {}, (1,), [1], {1: 2}, ((),), [[]], [1, 2, 3, 4], (1, 2, 3, 4), [1.0] * 5,
    (0.5,) * 4, [1, 2, 3, True], [1, 2, 3, 2**64], [1.0, 2.0, 3.0, 4], ["a"] * 10,
    ["abc"] * 5000, [b"q" * 70000, b"q" * 70000], (b"q" * 70000, 1), [b"q" * 70000],
    {"a": [1], "b": (2,)}, {(1, 2): None}, {1.5: b"x"}, set(), {1, 2}, list(range(10000)),
    tuple(float(i) for i in range(5000)), [None] * 1000, [[1], [2]], ([1], [2]),
]


class Parcels(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = WorkerPool(2)

    @classmethod
    def tearDownClass(cls):
        cls.pool.terminate()
        cls.pool.join()

    def arrives(self, value):
        back = self.pool.apply(same, (value,))
        self.assertEqual(back, value)
        self.assertIs(type(back), type(value))
        self.assertEqual(repr(back)[:1000], repr(value)[:1000])

    def test_values(self):
        for value in SCALARS + CONTAINERS:
            with self.subTest(value=repr(value)[:40]):
                self.arrives(value)
        self.assertTrue(math.isnan(self.pool.apply(same, (math.nan,))))

    def test_deep(self):
        deep = ()
        for _ in range(100):
            deep = (deep, 1)
        self.arrives(deep)

    def test_random_values(self):
        rng = random.Random(1)

        def build(depth):
            if depth == 0 or rng.random() < 0.4:
                return rng.choice(SCALARS[:24])
            items = [build(depth - 1) for _ in range(rng.randrange(6))]
            return rng.choice([tuple, list])(items)

        values = [build(4) for _ in range(500)]
        self.assertEqual(self.pool.map(same, values, 7), values)
        self.assertEqual(self.pool.map(same, values, 1), values)
        self.assertEqual(list(self.pool.imap(same, values)), values)

    def test_identity(self):
        items = []
        self.assertTrue(self.pool.apply(identities, ((items, items),)))
        self.assertTrue(self.pool.apply(identities, ([items, items],)))
        loop = []
        loop.append(loop)
        back = self.pool.apply(same, (loop,))
        self.assertIs(back[0], back)
        one, two = self.pool.apply(echo, (items, items))
        self.assertIs(one, two)

    def test_keywords(self):
        self.assertEqual(self.pool.apply(echo, (1,), {"a": [2], "b": None}), ((1,), {"a": [2], "b": None}))
        self.assertEqual(self.pool.apply(echo, (), {"a": self.test_keywords.__name__}), ((), {"a": "test_keywords"}))

    def test_ranges_and_sequences(self):
        for items in (range(0), range(7), range(10, -10, -3), range(2**62, 2**62 + 5),
                      range(2**70, 2**70 + 5), array("i", [1, 2, 3]), "text", {"k": 1}):
            for chunksize in (None, 1, 2, 100):
                self.assertEqual(self.pool.map(same, items, chunksize), list(items))

    def test_buffers(self):
        data = bytearray(random.Random(2).randbytes(1 << 20))
        before = blocks()
        back = self.pool.apply(same, (Whole(data),))
        self.assertEqual(back, Whole(data))
        view = memoryview(back.data)
        self.assertFalse(view.readonly)
        view[0] ^= 1
        self.assertNotEqual(back, Whole(data))
        self.assertTrue(memoryview(self.pool.apply(same, (Whole(bytes(data)),)).data).readonly)
        self.assertEqual(self.pool.apply(write, (Whole(data),)).data[0], 7)
        pair = self.pool.apply(same, ([Whole(data), Whole(bytearray(b"small")), Whole(data)],))
        self.assertEqual(pair, [Whole(data), Whole(b"small"), Whole(data)])
        held = memoryview(pair[2].data)[5:10]
        del back, view, pair
        self.assertEqual(bytes(held), bytes(data[5:10]))
        del held
        self.assertTrue(eventually(lambda: blocks() <= before + 2))

    def test_a_worker_keeps_what_it_got(self):
        with WorkerPool(1) as pool:
            datas = [bytes([i]) * 100_000 for i in range(5)]
            for data in datas:
                self.assertEqual(pool.apply(keep, (Whole(bytearray(data)),)), len(data))
            self.assertEqual(pool.map(same, range(100), 1), list(range(100)))
            self.assertEqual(pool.apply(kept), datas)

    def test_functions(self):
        counter = Counter()
        for count in range(3):
            counter.count = count
            self.assertEqual(self.pool.apply(counter), count)
            self.assertEqual(self.pool.apply(counter.method, (1,)), count + 1)
            self.assertEqual(self.pool.map(counter, [0, 0], 1), [count] * 2)
            self.assertEqual(self.pool.apply(functools.partial(echo, count)), (count,))
        self.assertEqual(self.pool.apply(Counter.static, (4,)), -4)
        self.assertEqual(self.pool.apply(int, ("12",)), 12)
        self.assertEqual(self.pool.apply(math.sqrt, (4,)), 2)
        self.assertEqual(self.pool.apply("a-b".split, ("-",)), ["a", "b"])
        self.assertEqual(self.pool.apply(kind, (Colour.RED,)), "Colour")
        with self.assertRaisesRegex(ValueError, "func can't be pickled"):
            self.pool.apply(lambda: 1)

    def test_a_function_that_was_replaced(self):
        this = sys.modules[__name__]
        before = this.shout
        self.assertEqual(self.pool.apply(before, (1,)), 1)
        this.shout = same
        try:
            with self.assertRaisesRegex(ValueError, "func can't be pickled"):
                self.pool.apply(before, (1,))
        finally:
            this.shout = before
        self.assertEqual(self.pool.apply(before, (2,)), 2)

    def test_many_functions(self):
        this = sys.modules[__name__]
        names = [f"f{i}" for i in range(1500)]
        with WorkerPool(1) as pool:
            for name in names:
                function = type(same)(same.__code__, globals(), name)
                function.__qualname__ = name
                setattr(this, name, function)
            try:
                results = [pool.apply_async(getattr(this, name), (1,)) for name in names]
                for result in results:  # the worker's module does not have them
                    with self.assertRaises(AttributeError):
                        result.get(LIMIT)
            finally:
                for name in names:
                    delattr(this, name)
            self.assertEqual(pool.apply(same, (3,)), 3)

    def test_nothing_is_left(self):
        with WorkerPool(2) as pool:
            pool.map(same, range(100))
            gc.collect()
            before = blocks()
            for value in SCALARS + CONTAINERS + [Whole(bytearray(1 << 18))]:
                pool.apply(same, (value,))
                pool.apply_async(same, (value,)).get(LIMIT)
            self.assertTrue(eventually(lambda: blocks() <= before + 2))


if __name__ == "__main__":
    unittest.main()
