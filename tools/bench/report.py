# SPDX-License-Identifier: MIT
"""The report: what was measured, as one JSON document.

{"format": 1, "time", "machine", "sources": [{"name", "backend", "executable"}],
 "seconds", "quick", "remarks": [text], "remarks_after": [text],
 "taken": {row: seconds}, "rows": [row]}

row: {"source": index, "row", "group", "title", "x", "unit", "wrong", "subjects"}
subject: {"name", "median", "p99", "samples"} and, for peers, "ratio" and "goal";
         or {"name", "off"} and "failed" or "absent".
"""

import json
import math
import statistics

from . import goals
from .kit import OURS

FORMAT = 1


def remarks(document):
    """Reasons not to trust it: those known before it was measured come first."""
    return [*document["remarks"], *document.get("remarks_after", ())]


def p99(samples):
    """The least sample that 99 of 100 do not exceed."""
    return sorted(samples)[math.ceil(len(samples) * 0.99) - 1]


def _subject(record):
    if "off" in record:
        subject = {"name": record["subject"], "off": record["off"]}
        for mark in ("failed", "absent"):
            if record.get(mark):
                subject[mark] = True
        return subject
    samples = record["samples"]
    return {
        "name": record["subject"],
        "median": statistics.median(samples),
        "p99": p99(samples),
        "samples": samples,
    }


def _ratio(ours, peer):
    """The median of the pairs' ratios, peer to ours."""
    pairs = [b / a for a, b in zip(ours["samples"], peer["samples"]) if a > 0]
    return statistics.median(pairs) if pairs else None


def _compare(row, backend, subjects):
    """Add ratios and goals; goals of a value alone go to our own subject."""
    ours = next((s for s in subjects if s["name"] == OURS and "median" in s), None)
    peers = [s for s in subjects if s["name"] != OURS]
    for number, peer in enumerate(peers or subjects):
        ratio = None
        if ours and peer is not ours and "median" in peer:
            ratio = peer["ratio"] = _ratio(ours, peer)
        goal = goals.of(row, backend, ours and ours["median"], peer["name"], number == 0, ratio)
        if goal:
            peer["goal"] = {"aim": goal[0], "reached": goal[1]}


def rows(sources, index, row, records, wrong):
    """The report's rows of what a source said about one row; a curve has many."""
    name, group, title = row
    made = []
    for x in dict.fromkeys(record.get("x") for record in records):
        mine = [record for record in records if record.get("x") == x]
        subjects = [_subject(record) for record in mine if "subject" in record]
        _compare(name, sources[index].backend, subjects)
        made.append(
            {
                "source": index,
                "row": name,
                "group": group,
                "title": title or mine[0].get("label", ""),
                "x": x,
                "unit": next((r["unit"] for r in mine if "unit" in r), "us"),
                "wrong": mine[0].get("off") if not subjects else None,
                "subjects": subjects,
            }
        )
    if wrong:
        made.append(
            {
                "source": index,
                "row": name,
                "group": group,
                "title": title or "the rest",
                "x": None,
                "unit": "us",
                "wrong": wrong,
                "subjects": [],
            }
        )
    return made


def save(document, file):
    json.dump(document, file, indent=1)
    file.write("\n")


def load(path):
    """The document in a file.  Raises ValueError."""
    with open(path) as file:
        document = json.load(file)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path} is no report of this ft-bench")
    return document
