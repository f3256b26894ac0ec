# SPDX-License-Identifier: MIT
"""Measures one row in this interpreter and prints JSON lines: our sample, then
each peer's, and again, until the time is over."""

import contextlib
import gc
import json
import os
import sys
from time import perf_counter

from . import catalog, kit, locate

_ROUNDS_MIN = 3
_ROUNDS_MAX = 1000
_WARM = 1000  # operations, where their number is given
_CAP = 20.0  # seconds: a curve ends before a sample that would take longer
_QUICK_CAP = 0.5
_ROOM = 10  # payloads of that many copies must fit into free memory


class _Subject:
    """Somebody who does the row's operation."""

    def __init__(self, row, opened):
        self._row = row
        self._run = opened
        self.samples = []
        self.count = 1

    def calibrate(self, x):
        """Find how many operations make a sample; warms up, too."""
        if self._row.value:
            return
        if self._row.count:
            self.count = self._row.count(x)
            self._run(min(self.count, _WARM))
            return
        self._run(1)  # Whoever starts its workers only now does not count them in.
        while not self._long_enough():
            self.count *= 2

    def _long_enough(self):
        # Three times: another program may have had the CPU for a while.
        for _ in range(3):
            taken = self._run(self.count)
            if taken < self._row.sample:
                return False
            if taken > 20 * self._row.sample:
                break
        return True

    def sample(self):
        if self._row.value:
            self.samples.append(self._run())
        else:
            self.samples.append(self._run(self.count) / self.count * 1e6)

    def facts(self):
        samples = [float(f"{value:.6g}") for value in self.samples]
        return {"unit": self._row.unit, "count": self.count, "samples": samples}

    def seconds(self):
        """What an operation took last; of values nothing is expected."""
        return 0 if self._row.value else self.samples[-1] / 1e6


class _Measurement:
    """A row at one x, or all of it."""

    def __init__(self, row, x, label, cap, last):
        self._row = row
        self._x = x
        self._label = label
        self._cap = cap
        self._last = last  # name: (x, seconds of an operation there), shared by all points
        self._subjects = {}  # name: subject, or why there is none

    def _print(self, name, **facts):
        record = {"row": self._row.name, "subject": name, **facts}
        if self._x is not None:
            record.update(x=self._x, label=self._label)
        print(json.dumps(record), flush=True)

    def _candidates(self, backend):
        """(name, function that opens it) of everybody who can do it."""
        extra = () if self._x is None else (self._x,)

        def of_kit(name):
            return lambda stack: stack.enter_context(
                self._row.open(kit.make(name, backend), *extra)
            )

        def of_rival(open):
            return lambda stack: stack.enter_context(open(None))

        if self._row.open:
            able = kit.able(self._row.needs, backend)
            for name in able[:1] if self._row.only_ours else able:
                yield name, of_kit(name)
        for name, open in self._row.rivals:
            yield name, of_rival(open)

    def _too_slow(self, name):
        """Why it is not measured at this x, if so."""
        if name not in self._last:
            return None
        x, seconds = self._last[name]
        expected = seconds * (self._x / x if x >= self._row.linear else 1)
        if self._row.count:
            expected *= self._row.count(self._x)
        if expected <= self._cap:
            return None
        return f"would take about {expected:.0f} s"

    def _open_one(self, stack, name, opener):
        """A subject, or why there is none."""
        slow = self._too_slow(name)
        if slow:
            return {"off": slow}
        try:
            subject = _Subject(self._row, opener(stack))
            subject.calibrate(self._x)
        except kit.Absent as absent:
            return {"off": str(absent), "absent": True}
        except Exception as error:
            return {"off": f"failed: {type(error).__name__}: {error}", "failed": True}
        return subject

    def _open(self, stack, backend):
        for name, opener in self._candidates(backend):
            self._subjects[name] = self._open_one(stack, name, opener)

    def _sample(self, subjects, seconds):
        least = 1 if self._row.value else _ROUNDS_MIN
        gc.collect()
        gc.freeze()
        end = perf_counter() + seconds
        for number in range(_ROUNDS_MAX):
            if number >= least and perf_counter() > end:
                break
            for subject in subjects:
                subject.sample()
        gc.unfreeze()

    def measure(self, backend, seconds):
        with contextlib.ExitStack() as stack:
            self._open(stack, backend)
            self._sample([s for s in self._subjects.values() if isinstance(s, _Subject)], seconds)
            for name, subject in self._subjects.items():
                if isinstance(subject, _Subject):
                    self._last[name] = (self._x, subject.seconds())
                    self._print(name, **subject.facts())
                else:
                    self._print(name, **subject)


def _memory_for(x):
    """Why a payload of x bytes does not fit, if so."""
    with open("/proc/meminfo") as meminfo:
        facts = dict(line.split(":") for line in meminfo)
    free = int(facts["MemAvailable"].split()[0]) * 1024
    return None if x * _ROOM <= free else f"needs {x * _ROOM >> 30} GiB of free memory"


def _curve(row, backend, seconds, quick):
    last = {}
    for x, label in row.points:
        if quick and x > row.quick:
            break
        why = _memory_for(x) if row.name == "py.scale.payload" else None
        if why:
            print(json.dumps({"row": row.name, "x": x, "label": label, "off": why}))
            continue
        cap = _QUICK_CAP if quick else _CAP
        _Measurement(row, x, label, cap, last).measure(backend, seconds / 2)


def measure(name, seconds, quick):
    """What `ft-bench --child ROW` does."""
    if not locate.package():
        sys.exit(f"ft-bench: {sys.executable} finds no freethreading")
    backend = locate.backend()
    row = catalog.rows()[name]
    if row.points:
        _curve(row, backend, seconds, quick)
    else:
        _Measurement(row, None, None, _CAP, {}).measure(backend, seconds)


def describe():
    """What `ft-bench --child` does: a JSON line about this interpreter, or a
    sentence on standard error."""
    if not locate.package():
        sys.exit("it finds no freethreading: configure with PYTHON=" + sys.executable)
    facts = {
        "name": "Python " + sys.version.split()[0],
        "backend": locate.backend(),
        "executable": sys.executable,
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "rows": [(row.name, row.group, row.title) for row in catalog.rows().values()],
        "peers": kit.names(locate.backend())[1:],
        "path": os.environ.get("PYTHONPATH", ""),
    }
    print(json.dumps(facts))
