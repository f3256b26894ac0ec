# SPDX-License-Identifier: MIT
"""The report as text, a row at a time."""

import time

from . import report
from .kit import OURS

_TITLE = 38
_NUMBER = 10
_PEER = 15


def number(value):
    """Three digits that count, whatever the size."""
    if value is None:
        return "-"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    if abs(value) >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.3f}"


def ratio(value):
    if value is None:
        return "-"
    if value >= 99.5:
        return f"{value:,.0f}×"
    return f"{value:.3g}×" if value >= 0.0995 else f"{value:.2g}×"


def _line(title, ours, p99, peer, theirs, their_p99, factor, goal):
    text = (
        f"  {title:<{_TITLE}}{ours:>{_NUMBER}}{p99:>{_NUMBER}}  {peer:<{_PEER}}"
        f"{theirs:>{_NUMBER}}{their_p99:>{_NUMBER}}{factor:>9}"
    )
    return f"{text}  {goal}".rstrip()


class Table:
    """Prints rows as they come."""

    def __init__(self, write, sources, goals=False):
        self._write = write
        self._sources = sources
        self._goals = goals
        self._source = None
        self._group = None
        self._off = {}  # as a set that keeps its order

    def head(self, document):
        machine = document["machine"]
        cpus = "CPU" if machine["cpus"] == 1 else "CPUs"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(document["time"]))
        loads = " ".join(f"{load:.2f}" for load in machine["load"])
        self._write(f"ft-bench, {when}, on {machine['cpus']} {cpus}: {machine['cpu']}")
        self._write(
            f"Linux {machine['kernel']}, {machine['memory'] / 2**30:.0f} GiB, load average {loads}"
        )
        for remark in document["remarks"]:
            self._write(f"Note: {remark}")
        self._write(
            "Microseconds for one operation, unless the row says otherwise: median and p99 of\n"
            "samples taken in turn; the ratio is the peer's time to ours, sample by sample."
        )

    def _section(self, row):
        if row["source"] != self._source:
            source = self._sources[row["source"]]
            kind = {"": "", "multiprocessing": ", process workers", "threading": ", thread workers"}
            self._write("")
            self._write(f"{source['name']}{kind[source['backend']]} ({source['executable']})")
            self._source, self._group = row["source"], None
        if row["group"] != self._group:
            goal = "goal" if self._goals else ""
            self._write("")
            self._write(row["group"])
            self._write(_line("", "ours", "p99", "peer", "peer", "p99", "ratio", goal))
            self._group = row["group"]

    def _goal(self, subject):
        goal = subject.get("goal") if self._goals else None
        return f"{goal['aim']} {'reached' if goal['reached'] else 'MISSED'}" if goal else ""

    def row(self, row):
        """Print one row of the report."""
        self._section(row)
        title = row["title"]
        if row["wrong"]:
            self._write(f"  {title:<{_TITLE}} {row['wrong']}")
            return
        ours = [s for s in row["subjects"] if s["name"] == OURS]
        peers = [s for s in row["subjects"] if s["name"] != OURS]
        first = (title, *self._ours(ours))
        lines = [self._peer(peer) for peer in peers if "off" not in peer]
        for line in lines or [("", "", "", "", self._goal(*ours) if ours else "")]:
            self._write(_line(*first, *line))
            first = ("", "", "")
        for subject in row["subjects"]:
            if "off" in subject:
                self._note(row, subject)

    def _ours(self, ours):
        if not ours or "off" in ours[0]:
            return "-", "-"
        return number(ours[0]["median"]), number(ours[0]["p99"])

    def _peer(self, peer):
        return (
            peer["name"],
            number(peer["median"]),
            number(peer["p99"]),
            ratio(peer["ratio"]) if peer.get("ratio") else "",
            self._goal(peer),
        )

    def _note(self, row, peer):
        """Those that fail, or stop, somewhere: where; those that are absent: once."""
        key = (peer["name"], peer["off"])
        if peer["name"] == OURS or peer.get("failed") or (row["x"] is not None and not peer.get("absent")):
            self._write(f"    {peer['name']}: {peer['off']}")
        else:
            self._off[key] = True

    def foot(self, document):
        if self._off:
            self._write("")
            self._write("Not measured:")
            for name, why in self._off:
                self._write(f"  {name}: {why}")
        for remark in report.remarks(document):
            self._write(f"Note: {remark}")
        if self._goals:
            self._write(self._count(document))

    @staticmethod
    def _count(document):
        marks = [
            subject["goal"]["reached"]
            for row in document["rows"]
            for subject in row["subjects"]
            if "goal" in subject
        ]
        return f"\nGoals: {sum(marks)} of {len(marks)} reached."
