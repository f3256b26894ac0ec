# SPDX-License-Identifier: MIT
"""The main job: count every word of a directory tree with a WorkerPool, and
prove the result against a plain count.

    python3 10_index.py [-w WORKERS] [DIR ...]

Without DIR it reads /usr/include and /usr/share/doc, those that exist.  The
tree is read three times: by this process alone, by one worker and by WORKERS
of them (default: one for each CPU that this program may use).  The first
reading may also have to wait for the disk, so compare the other two.  Exit
status: 0 all three agree, 1 they differ or something failed, 2 usage, 130
Ctrl-C.
10_index.c does the same in C and prints the same totals.

What is counted: a token is a longest run of the bytes A-Z a-z 0-9 _, letters
folded to lower case; of a longer run only the first 64 bytes name it.
Symbolic links below DIR are not followed.  A file with a NUL byte in its first
8 KiB is binary and not counted.  What was read of a file before a read error
stays counted; the file itself counts as unreadable.

How the work is cut: the sorted files form batches of up to 64 files or about
1 MiB.  A batch is a task, a list of paths; its result is a tuple of the files
by kind, the bytes, and a dictionary from token to count.  Results are merged
in the order in which they come.  If a worker dies, its batch is reported and
handed in again; the others are not touched.  A batch that was lost five times
is taken to be what kills the workers: the program gives up.
"""

import argparse
import errno
import os
import stat
import sys
import time
from collections import Counter
from queue import SimpleQueue

from freethreading import WorkerDiedError, WorkerPool

TOKEN_MAX = 64
CHUNK = 1 << 20
PROBE = 8192  # a NUL byte in here makes a file binary
BATCH_FILES = 64
BATCH_BYTES = 1 << 20
IN_FLIGHT = 8  # batches handed in for each worker
TRIES = 5
TOP = 20

KINDS = ("read", "unreadable", "binary", "empty", "vanished", "symlinks", "special")
READ, UNREADABLE, BINARY, EMPTY, VANISHED, SYMLINK, SPECIAL = range(len(KINDS))


# ---- one file ----


def _fold(byte):
    char = chr(byte)
    return ord(char.lower()) if char.isascii() and (char.isalnum() or char == "_") else 32


FOLDED = bytes(_fold(byte) for byte in range(256))


def kind_of_error(error):
    kinds = {
        errno.ENOENT: VANISHED,
        errno.ENOTDIR: VANISHED,
        errno.ELOOP: SYMLINK,
        errno.ENXIO: SPECIAL,
    }
    return kinds.get(error.errno, UNREADABLE)


class Tally:
    """What one or more batches came to."""

    def __init__(self):
        self.files = [0] * len(KINDS)
        self.bytes = 0
        self.table = Counter()

    def add(self, result):
        files, size, table = result
        self.files = [mine + more for mine, more in zip(self.files, files)]
        self.bytes += size
        self.table.update(table)

    def cut_tokens(self):
        """Gives long tokens the name by which they count."""
        for token in [token for token in self.table if len(token) > TOKEN_MAX]:
            self.table[token[:TOKEN_MAX]] += self.table.pop(token)

    def result(self):
        """The tally in the form in which it travels."""
        self.cut_tokens()
        return self.files, self.bytes, dict(self.table)

    @property
    def tokens(self):
        return sum(self.table.values())


def count_open_file(tally, fd):
    """Counts a file in pieces and returns its kind.  What follows the last
    space of a piece may go on in the next one."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return SPECIAL
    kind, rest = EMPTY, b""
    while data := os.read(fd, CHUNK):
        if kind == EMPTY and b"\0" in data[:PROBE]:
            return BINARY
        kind = READ
        tally.bytes += len(data)
        head, space, tail = data.translate(FOLDED).rpartition(b" ")
        if space:
            tally.table.update((rest + head).split())
            rest = b""
        rest = (rest + tail)[:TOKEN_MAX]
    if rest:
        tally.table[rest] += 1
    return kind


def count_file(tally, path):
    # The tree may have changed since it was walked: these flags keep a new link
    # or pipe from leading astray or blocking.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags)
        try:
            kind = count_open_file(tally, fd)
        finally:
            os.close(fd)
    except OSError as error:
        kind = kind_of_error(error)
    tally.files[kind] += 1


def count_batch(paths):
    """What a worker runs."""
    tally = Tally()
    for path in paths:
        count_file(tally, path)
    return tally.result()


# ---- the tree, as a sorted list of files cut into batches ----


class Tree:
    def __init__(self, roots):
        self.skipped = [0] * len(KINDS)
        files = []
        folders = []
        for root in roots:
            self._visit(os.fsencode(root), os.stat, files, folders)
            while folders:
                self._read_folder(folders.pop(), files, folders)
        files.sort()
        self.nfiles = len(files)
        self.bytes = sum(size for path, size in files)
        self.batches = list(cut(files))

    def _visit(self, path, status, files, folders):
        try:
            st = status(path)
        except OSError as error:
            self.skipped[kind_of_error(error)] += 1
            return
        if stat.S_ISREG(st.st_mode):
            files.append((path, st.st_size))
        elif stat.S_ISDIR(st.st_mode):
            folders.append(path)
        else:
            self.skipped[SYMLINK if stat.S_ISLNK(st.st_mode) else SPECIAL] += 1

    def _read_folder(self, path, files, folders):
        try:
            names = os.listdir(path)
        except OSError as error:
            self.skipped[kind_of_error(error)] += 1
            return
        for name in names:
            self._visit(os.path.join(path, name), os.lstat, files, folders)


class Batch:
    def __init__(self):
        self.paths = []
        self.bytes = 0

    def add(self, path, size):
        self.paths.append(path)
        self.bytes += size

    def full(self):
        return len(self.paths) == BATCH_FILES or self.bytes >= BATCH_BYTES


def cut(files):
    batch = Batch()
    for path, size in files:
        batch.add(path, size)
        if batch.full():
            yield batch
            batch = Batch()
    if batch.paths:
        yield batch


# ---- a line on the terminal ----


class Progress:
    def __init__(self, tree, label):
        self.tree, self.label = tree, label
        self.files = self.bytes = 0
        self.start = self.shown = time.monotonic()
        self.on = sys.stderr.isatty()

    def add(self, batch):
        self.files += len(batch.paths)
        self.bytes += batch.bytes
        now = time.monotonic()
        if not self.on or now - self.shown < 0.1:
            return
        self.shown = now
        passed = now - self.start
        left = passed * (self.tree.bytes - self.bytes) / max(self.bytes, 1)
        self._write(
            f"{self.label}: {self.files}/{self.tree.nfiles} files,"
            f" {self.bytes / 1e6 / passed:.1f} MB/s, {left:.0f} s left"
        )

    def clear(self):
        if self.on:
            self._write("")

    def seconds(self):
        return time.monotonic() - self.start

    def _write(self, text):
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


# ---- the three ways of counting ----


def count_alone(tree):
    tally, progress = Tally(), Progress(tree, "no worker")
    for batch in tree.batches:
        for path in batch.paths:
            count_file(tally, path)
        progress.add(batch)
    tally.cut_tokens()
    progress.clear()
    return tally, progress.seconds()


class Job:
    """Hands batches to a pool, not too many at once, and merges the results."""

    def __init__(self, tree, label):
        self.tree, self.label = tree, label
        self.tally = Tally()
        self.progress = None
        self.done = SimpleQueue()  # (batch, result or exception)
        self.tried = {}
        self.lost = 0

    def run(self, workers):
        self.progress = Progress(self.tree, self.label)
        with WorkerPool(workers) as pool:
            waiting = iter(self.tree.batches)
            for _ in range(workers * IN_FLIGHT):
                self._hand_in(pool, next(waiting, None))
            for _ in self.tree.batches:
                self._collect(pool)
                self._hand_in(pool, next(waiting, None))
            pool.close()
            pool.join()
        self.progress.clear()
        return self.tally, self.progress.seconds()

    def _hand_in(self, pool, batch):
        if batch is None:
            return
        self.tried[batch] = self.tried.get(batch, 0) + 1

        def ended(result):
            self.done.put((batch, result))

        pool.apply_async(count_batch, (batch.paths,), callback=ended, error_callback=ended)

    def _collect(self, pool):
        """Merges one batch, handing in again what dead workers have lost."""
        batch, result = self.done.get()
        while isinstance(result, WorkerDiedError):
            self._report(batch, result)
            if self.tried[batch] == TRIES:
                raise result
            self._hand_in(pool, batch)
            batch, result = self.done.get()
        if isinstance(result, BaseException):
            raise result
        self.tally.add(result)
        self.progress.add(batch)

    def _report(self, batch, death):
        first, last = os.fsdecode(batch.paths[0]), os.fsdecode(batch.paths[-1])
        how = f"killed by signal {death.signal}"
        if not death.signal:
            how = f"exited with status {death.exitcode}"
        self.progress.clear()
        print(
            f"lost: task {death.task} (files {first} ... {last}), worker pid {death.pid} {how}",
            file=sys.stderr,
            flush=True,
        )
        self.lost += 1


# ---- the report ----


def print_totals(tree, tally):
    files = [mine + more for mine, more in zip(tally.files, tree.skipped)]
    kinds = ", ".join(f"{files[kind]} {KINDS[kind]}" for kind in range(1, len(KINDS)))
    print(f"files     {files[READ]} read, {tally.bytes} bytes")
    print(f"skipped   {sum(files[1:])}: {kinds}")
    print(f"tokens    {tally.tokens} total, {len(tally.table)} distinct")


def print_top(table):
    top = sorted(table.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    print(f"top {len(top)} tokens")
    for place, (token, count) in enumerate(top, 1):
        print(f"{place:4}  {token.decode():<24} {count:12}")


def print_time(label, tally, seconds):
    files, size = tally.files[READ] / seconds, tally.bytes / 1e6 / seconds
    print(f"{label:<12} {seconds:8.3f} s {files:10.0f} files/s {size:9.1f} MB/s")


def agree(label, plain, pool):
    """Whether both found the same; if not, tells the first difference."""
    one = {"bytes": plain.bytes, **dict(zip(KINDS, plain.files)), **plain.table}
    other = {"bytes": pool.bytes, **dict(zip(KINDS, pool.files)), **pool.table}
    for key in one.keys() | other.keys():
        if one.get(key) != other.get(key):
            print(f"check: DIFFERENT: {key!r}: alone {one.get(key)}, {label} {other.get(key)}")
            return False
    return True


def run(tree, workers):
    label = f"{workers} worker{'' if workers == 1 else 's'}"
    one_job, many_job = Job(tree, "1 worker"), Job(tree, label)
    alone, alone_s = count_alone(tree)
    one, one_s = one_job.run(1)
    many, many_s = many_job.run(workers)
    lost = one_job.lost + many_job.lost

    print_totals(tree, many)
    print_top(many.table)
    print_time("no worker", alone, alone_s)
    print_time("1 worker", one, one_s)
    print_time(label, many, many_s)
    print(f"speed-up over one worker: {one_s / many_s:.2f}")
    if lost:
        print(f"batches lost and done again: {lost}")
    if not (agree("1 worker", alone, one) and agree(label, alone, many)):
        return 1
    print("check: identical to the single-process count")
    return 0


def arguments():
    parser = argparse.ArgumentParser(description="Count the words of a directory tree.")
    parser.add_argument("dirs", metavar="DIR", nargs="*", help="what to read")
    parser.add_argument(
        "-w", "--workers", type=int, default=len(os.sched_getaffinity(0)), help="how many workers"
    )
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("there must be at least one worker")
    for name in options.dirs:
        if not os.path.exists(name):
            parser.error(f"{name}: {os.strerror(errno.ENOENT)}")
    if not options.dirs:
        defaults = ("/usr/include", "/usr/share/doc")
        options.dirs = [name for name in defaults if os.path.exists(name)]
    return options


def main():
    options = arguments()
    return run(Tree(options.dirs), options.workers)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
