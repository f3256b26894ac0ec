# SPDX-License-Identifier: MIT
"""Sources of figures: the C program, and interpreters; one process a row."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import typing


@dataclasses.dataclass
class Source:
    """Who measures: `command(row, seconds, quick)` prints JSON lines."""

    name: str
    backend: str  # "" for C
    executable: str
    command: typing.Callable
    rows: list  # (name, group, title)

    def facts(self):
        return {"name": self.name, "backend": self.backend, "executable": self.executable}


class Unusable(Exception):
    """A source measures nothing; says why."""


def _ask(command, what):
    """The output of a command that should be quick."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"{what}: {error}") from None
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or [f"status {answer.returncode}"]
        raise Unusable(f"{what}: {lines[-1]}")
    return answer.stdout


def of_c(program):
    """The rows of ft-bench-c."""
    lines = map(json.loads, _ask([program, "--list"], program).splitlines())
    rows = [(line["row"], line["group"], line["title"]) for line in lines]
    return Source("C", "", program, lambda row, seconds, quick: [program, row, str(seconds)], rows)


def of_python(script, interpreter):
    """The rows of an interpreter."""
    facts = json.loads(_ask([interpreter, script, "--child", "?"], interpreter))

    def command(row, seconds, quick):
        tail = ["--quick"] if quick else []
        return [interpreter, script, "--child", row, "--time", str(seconds), *tail]

    name = facts["name"] + ("" if facts["gil"] else " free-threaded")
    rows = [tuple(row) for row in facts["rows"]]
    return Source(name, facts["backend"], facts["executable"], command, rows)


@contextlib.contextmanager
def _group(command, output, errors):
    """A process in a group of its own, of which nothing is left afterwards."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _records(text):
    """The lines that were finished; who was killed may have left half a one."""
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def measure(source, row, seconds, quick, limit):
    """(records of the row, what went wrong or None)."""
    wrong = None
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        with _group(source.command(row, seconds, quick), output, errors) as process:
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                wrong = f"no end within {limit:.0f} s"
            else:
                wrong = f"status {status}" if status else None
        output.seek(0)
        errors.seek(0)
        said = errors.read().strip().splitlines()
        if wrong and said:
            wrong += ": " + said[-1]
        return list(_records(output.read())), wrong
