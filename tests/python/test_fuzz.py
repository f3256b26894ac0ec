# SPDX-License-Identifier: MIT
"""Bytes that nobody sent, where the package parses what arrives: parcels from
workers, arguments in workers, and handles in pickles.  The inputs are made from
numbers, so that a failure names one; FT_EFFORT has more of them made."""

import os
import pickle
import random
import struct
import sys
import unittest

os.environ["FT_BACKEND"] = "processes"

from freethreading import _core
from support import LIMIT, TestCase

EFFORT = min(int(os.environ.get("FT_EFFORT", "1")), 100)
PARCELS = 3000 * EFFORT
HANDLES = 20000 * EFFORT
#: What may come of bytes that are damaged, unpickling included.
REFUSALS = (ValueError, TypeError, OverflowError, EOFError, SystemError, pickle.UnpicklingError)
DAMAGED = "what arrived is damaged"

HELPER = """
import os, pickle
from freethreading import _core

def child(payload):
    seat = _core.Seat(int(payload))
    # Each task is a call with some bytes, which are the reply as they are: behind
    # the function's handle and the heads of a tuple and of bytes.
    while (task := seat.next()) is not None:
        task.reply(bytes(task.arg)[8 + 5 + 9:])
        task.end(0)
    seat.close()
    return 0

raise SystemExit(_core.serve(child))
"""


def packed(value):
    """The parcel of a value, as the package writes it (pybind/parcel.c)."""
    if value is None or value is True or value is False:
        return {None: b"N", True: b"T", False: b"F"}[value]
    if isinstance(value, int):
        return b"q" + struct.pack("<q", value)
    if isinstance(value, float):
        return b"d" + struct.pack("<d", value)
    if isinstance(value, str):
        return b"s" + struct.pack("<BI", 1, len(value)) + value.encode("latin-1")
    if isinstance(value, bytes):
        return b"y" + struct.pack("<Q", len(value)) + value
    if isinstance(value, dict):
        items = b"".join(packed(k) + packed(v) for k, v in value.items())
        return b"{" + struct.pack("<I", len(value)) + items
    tag = b"(" if isinstance(value, tuple) else b"["
    return tag + struct.pack("<I", len(value)) + b"".join(map(packed, value))


def crate(value, *slabs):
    """A pickle with buffers beside it (pybind/crate.h)."""
    body = pickle.dumps(value, 5)
    offset = 1 + 12 + 24 * len(slabs) + len(body)
    notes, data = b"", b""
    for slab in slabs:
        notes += struct.pack("<QQQ", offset + len(data), len(slab), 1)
        data += slab
    return b"P" + struct.pack("<IQ", len(slabs), len(body)) + notes + body + data


VALUES = (
    None, True, 0, -1, 2**62, 1.5, "", "text", "\x00\xff", b"", b"bytes" * 20, (), [], {},
    (1, "two", [3.0, None], {"four": (5,)}), [[[[1]]]], {(1, 2): [b"3"], "k": {}}, list(range(50)),
)
SAMPLES = [
    *map(packed, VALUES),
    b"b\x05",
    b"Q(" + struct.pack("<I3q", 3, 1, 2, 3),
    b"D[" + struct.pack("<I2d", 2, 1.5, -0.0),
    b"r" + struct.pack("<3q", 0, 1, 10),
    b"r" + struct.pack("<3q", 2**62, 2**61, 2**31 - 1),
    b"p" + struct.pack("<Q", len(pickle.dumps({1, 2}))) + pickle.dumps({1, 2}),
    crate({1, 2}),
    crate(("a",), b"x" * 100, b"y" * 5000),
]


def changed(rng, sample):
    """The sample with a few bytes changed, lost, doubled or added; none within a
    pickle, which may ask for anything."""
    data = bytearray(sample)
    end = min(len(data), 9 if data[:1] in (b"p", b"P") else len(data))
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(end)
        how = rng.randrange(5)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice(b"\x00\x01\x7f\x80\xff([{sqdbyrpPQDNTF")
        elif how == 2 and data[:1] not in (b"p", b"P"):
            del data[at : at + rng.randrange(1, 9)]
            end = len(data)
        elif how == 3:
            del data[max(at, 1) + rng.randrange(len(data)) :]
        else:
            data += rng.randbytes(rng.randrange(8))
        end = min(end, len(data))
        if not end:
            break
    return bytes(data)


class FuzzTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.spawner = _core.Spawner([sys.executable, "-c", HELPER])
        cls.pool = _core.Pool(2, cls.start)

    @classmethod
    def start(cls, seat, handle, cpus):
        return cls.spawner.spawn(b"%d" % handle, f"seat-{seat}")

    @classmethod
    def tearDownClass(cls):
        cls.pool.terminate(0)
        assert cls.pool.join(LIMIT)
        cls.spawner.stop()

    def outcome(self, parcel):
        """What the program makes of a worker's reply."""
        ticket = self.pool.ticket(0, len, (parcel,), None, False, None, 0)
        self.assertTrue(ticket.wait(LIMIT))
        return ticket.outcome()

    def test_samples(self):
        for value in VALUES:
            self.assertEqual(self.outcome(packed(value)), (True, value))
        self.assertEqual(self.outcome(crate({1, 2}, b"z" * 100)), (True, {1, 2}))

    def test_parcels(self):
        refused = 0
        for number in range(PARCELS):
            rng = random.Random(number)
            parcel = changed(rng, SAMPLES[number % len(SAMPLES)])
            with self.subTest(number=number, parcel=parcel[:60]):
                arrived, what = self.outcome(parcel)
                refused += not arrived
                if not arrived:
                    self.assertIsInstance(what, REFUSALS)
        self.assertGreater(refused, PARCELS // 4)
        _core.arena_check()
        print(f"{PARCELS} parcels, {refused} refused", file=sys.stderr)

    def test_a_reply_stands_for_no_range(self):
        """A few bytes do not make a program allocate gigabytes."""
        arrived, error = self.outcome(b"r" + struct.pack("<3q", 0, 1, 2**31 - 1))
        self.assertFalse(arrived)
        self.assertIn(DAMAGED, str(error))

    def test_handles(self):
        """Pickled primitives whose handle is another one's, nobody's or noise."""
        made = [
            _core.Lock(), _core.RLock(), _core.Event(), _core.Semaphore(1), _core.Queue(),
            _core.BoundedSemaphore(1), _core.SimpleQueue(), _core.Condition(), _core.Barrier(2),
        ]
        names, handles = [], []
        for one in made:
            name, handle = one.__reduce__()[1][:2]
            names.append(name)
            handles.append(handle)
        gone = _core.Lock()
        handles.append(gone.__reduce__()[1][1])
        del gone
        attached = 0
        for number in range(HANDLES):
            rng = random.Random(number)
            handle = rng.choice(handles)
            how = rng.randrange(4)
            if how == 0:
                handle ^= 1 << rng.randrange(64)
            elif how == 1:
                handle += rng.randrange(-4, 5) << rng.choice((0, 30, 36))
            elif how == 2:
                handle = rng.getrandbits(64)
            name = rng.choice(names + ["Worker", "", "lock", "Lock\0"])
            with self.subTest(number=number, name=name, handle=handle):
                try:
                    _core.attach(name, handle, *rng.choice(((), (), (made[0],), (None,))))
                    attached += 1
                except REFUSALS:
                    pass
        self.assertGreater(attached, 0)
        _core.arena_check()
        for one in (made[0], made[1], made[3], made[5]):
            self.assertTrue(one.acquire(timeout=LIMIT))
            one.release()
        made[4].put(b"item")
        self.assertEqual(made[4].get(), b"item")
        print(f"{HANDLES} handles, {attached} attached", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
