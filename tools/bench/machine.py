# SPDX-License-Identifier: MIT
"""The machine, and whether it is quiet enough to measure."""

import os
import platform
import time

_BUSY = 0.15  # of all CPUs, before anything is measured
_STEAL = 0.02  # of all CPUs, while it is measured


def _model():
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    return platform.machine()


def facts():
    return {
        "host": platform.node(),
        "cpu": _model(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpus_online": os.cpu_count(),
        "kernel": platform.release(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": list(os.getloadavg()),
    }


class Watch:
    """What the CPUs did since it was made."""

    def __init__(self):
        self._start = self._read()

    @staticmethod
    def _read():
        with open("/proc/stat") as stat:
            ticks = [int(field) for field in stat.readline().split()[1:9]]
        total = sum(ticks)
        return total, total - ticks[3] - ticks[4], ticks[7]

    def shares(self):
        """(busy, stolen by the host) as parts of all CPU time."""
        total, busy, steal = (now - then for now, then in zip(self._read(), self._start))
        return (busy / total, steal / total) if total > 0 else (0.0, 0.0)


def remarks_before():
    """Reasons not to trust what will be measured."""
    watch = Watch()
    time.sleep(0.3)
    busy, _ = watch.shares()
    found = []
    if busy > _BUSY:
        found.append(
            f"Other programs use {busy:.0%} of the CPUs (load {os.getloadavg()[0]:.1f}): "
            "these figures are noise, ratios included."
        )
    if len(os.sched_getaffinity(0)) < 2:
        found.append("There is one CPU only: rows with two workers show its scheduler.")
    return found


def remarks_after(watch):
    _, steal = watch.shares()
    if steal <= _STEAL:
        return []
    return [f"The host took {steal:.0%} of the CPU time away: run it again on a quiet one."]
