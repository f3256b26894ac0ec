# SPDX-License-Identifier: MIT
"""ft-bench's command line."""

import argparse
import contextlib
import os
import sys
import time

from . import locate, machine, plot, progress, report, source, table

_DESCRIPTION = """\
Measures freethreading and its peers side by side: a sample of ours, one of each
peer, and again.  Prints medians, p99, ratios, and the physical limits of this
machine.  Rows are chosen by any part of their name, group or title; all of them
take about a quarter of an hour, with --quick two minutes."""

_EPILOG = """\
examples:
  ft-bench --quick                     the table, roughly
  ft-bench lock queue                  rows about locks and queues
  ft-bench --goals --json all.json --plot all.svg
  ft-bench --python python3.13t --quick pool
  FT_BACKEND=threads ft-bench worker   thread workers, on any interpreter

ft-bench(1) says what each row does."""

_TIME = 2.0
_QUICK_TIME = 0.25


def _parser():
    parser = argparse.ArgumentParser(
        prog="ft-bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("rows", nargs="*", metavar="ROW", help="part of a name, group or title; default: all")
    add("--list", action="store_true", help="list the rows and leave")
    add("--quick", action="store_true", help=f"less of everything: {_QUICK_TIME} s a row")
    add("--time", type=float, metavar="SECONDS", help=f"for each row (default: {_TIME})")
    add("--goals", action="store_true", help="say which ratios were aimed at, and reached")
    add("--python", action="append", metavar="PROGRAM", help="this interpreter, too; repeatable")
    add("--no-c", action="store_true", help="leave out what is measured in C")
    add("--no-python", action="store_true", help="leave out what is measured in Python")
    add("--json", metavar="FILE", help="write all figures, every sample, as JSON (-: here)")
    add("--plot", metavar="FILE", help="draw a picture: FILE.svg, FILE.png, FILE.pdf")
    add("--load", metavar="FILE", help="measure nothing: show what --json wrote before")
    add("--child", metavar="ROW", help=argparse.SUPPRESS)
    return parser


class _Refused(Exception):
    """The command line asks for what cannot be; says why."""


# ---- whom to ask ----


def _c_source(installed):
    program = locate.measurer(installed)
    if program is None:
        raise source.Unusable("ft-bench-c, which measures in C, is neither installed nor built")
    return source.of_c(program)


def _sources(options, script, installed):
    """(sources, remarks about those that cannot be used)."""
    makers = []
    if not options.no_c:
        makers.append(lambda: _c_source(installed))
    if not options.no_python:
        for interpreter in dict.fromkeys([sys.executable, *(options.python or ())]):
            makers.append(lambda name=interpreter: source.of_python(script, name))
    sources, remarks = [], []
    for maker in makers:
        try:
            sources.append(maker())
        except source.Unusable as unusable:
            remarks.append(f"Not measured: {unusable}")
    if not sources:
        raise _Refused("\n".join(remarks) or "--no-c and --no-python leave nothing")
    return sources, remarks


def _chosen(sources, words):
    """(source's index, row) of each row that a word is in; the limits always."""
    words = [word.lower() for word in words]
    plan, found = [], False
    for index, one in enumerate(sources):
        for row in one.rows:
            text = " ".join(row).lower()
            wanted = not words or any(word in text for word in words)
            if wanted or ".limit." in row[0]:
                plan.append((index, row))
            found = found or wanted
    if not found:
        raise _Refused(f"no row has {' or '.join(words)} in it; see --list")
    return plan


# ---- what to do ----


def _list(sources):
    for one in sources:
        for name, group, title in one.rows:
            print(f"{name:<30} {group}{': ' + title if title else ''}")


def _check(options):
    """Refuse now what would fail after minutes."""
    if options.time is not None and not 0 < options.time < 3600:
        raise _Refused(f"--time is in seconds, and above 0: not {options.time}")
    if options.plot:
        if not plot.available():
            raise _Refused(plot.REMEDY.format(sys.executable))
        ending = os.path.splitext(options.plot)[1].lstrip(".").lower()
        if ending not in plot.formats():
            raise _Refused(f"--plot knows {', '.join(plot.formats())}: not {options.plot}")
    for path in (options.plot, options.json):
        folder = os.path.dirname(path or "") or "."
        if path and path != "-" and not os.access(folder, os.W_OK):
            raise _Refused(f"cannot write to {folder}, where {path} should be")


def _limit(seconds, row):
    """Seconds after which a row is given up: a hang, whoever's it is."""
    return (60 + 40 * seconds) * (6 if ".scale." in row else 1)


def _measure(options, sources, document, shown):
    plan = _chosen(sources, options.rows)
    seconds = document["seconds"]
    line = progress.Progress(len(plan))
    try:
        for index, row in plan:
            name = row[0]
            line.begin(f"{sources[index].name}: {row[1]}{': ' + row[2] if row[2] else ''}")
            records, wrong = source.measure(
                sources[index], name, seconds, options.quick, _limit(seconds, name)
            )
            document["taken"][f"{sources[index].name}: {name}"] = line.end()
            for made in report.rows(sources, index, row, records, wrong):
                document["rows"].append(made)
                shown.row(made)
    finally:
        line.clear()


def _new_document(options, sources, remarks):
    return {
        "format": report.FORMAT,
        "time": time.time(),
        "machine": machine.facts(),
        "sources": [one.facts() for one in sources],
        "seconds": options.time or (_QUICK_TIME if options.quick else _TIME),
        "quick": options.quick,
        "remarks": [*remarks, *machine.remarks_before()],
        "remarks_after": [],
        "taken": {},
        "rows": [],
    }


def _new_report(options, script, installed, write):
    sources, remarks = _sources(options, script, installed)
    _chosen(sources, options.rows)
    document = _new_document(options, sources, remarks)
    watch = machine.Watch()
    shown = table.Table(write, document["sources"], options.goals)
    shown.head(document)
    try:
        _measure(options, sources, document, shown)
    except KeyboardInterrupt:
        document["remarks_after"].append("Interrupted: rows are missing.")
    document["remarks_after"] += machine.remarks_after(watch)
    shown.foot(document)
    return document


def _old_report(options, write):
    try:
        document = report.load(options.load)
    except (OSError, ValueError) as error:
        raise _Refused(f"--load: {error}") from None
    shown = table.Table(write, document["sources"], options.goals)
    shown.head(document)
    for row in document["rows"]:
        shown.row(row)
    shown.foot(document)
    return document


def _files(options, document):
    if options.json == "-":
        report.save(document, sys.stdout)
    elif options.json:
        with open(options.json, "w") as file:
            report.save(document, file)
    if options.plot:
        try:
            plot.draw(document, options.plot)
        except ValueError as error:
            raise _Refused(f"--plot: {error}") from None


def _child(options):
    from . import measure

    if options.child == "?":
        measure.describe()
    else:
        measure.measure(options.child, options.time, options.quick)
    return 0


def _whole(document):
    """Whether every row that was begun gave figures of ours or of limits."""
    return all(
        not row["wrong"] and not any(subject.get("failed") for subject in row["subjects"])
        for row in document["rows"]
        if row["x"] is None
    )


def _run(options, script, installed):
    _check(options)
    if options.list:
        _list(_sources(options, script, installed)[0])
        return 0
    stream = sys.stderr if options.json == "-" else sys.stdout

    def write(text):
        print(text, file=stream, flush=True)

    if options.load:
        document = _old_report(options, write)
    else:
        document = _new_report(options, script, installed, write)
    _files(options, document)
    return 0 if _whole(document) else 1


def main(script, installed):
    """`script` is ft-bench itself, `installed` where make put ft-bench-c."""
    options = _parser().parse_args()
    if options.child:
        return _child(options)
    try:
        return _run(options, script, installed)
    except _Refused as refused:
        print(f"ft-bench: {refused}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
