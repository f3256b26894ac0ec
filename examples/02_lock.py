# SPDX-License-Identifier: MIT
"""A lock: four workers append to one file, a line and its number at a time.

    python3 02_lock.py

Each worker reads the last number, adds one and writes the next line.  Without
the lock two of them would read the same number.
"""

import os
import sys
import tempfile

from freethreading import Lock, Worker

WORKERS = 4
LINES = 200


def append(lock, path):
    for _ in range(LINES):
        with lock, open(path, "r+") as file:
            lines = file.read().split()
            file.write(f"{int(lines[-1]) + 1 if lines else 1}\n")


def main():
    lock = Lock()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "numbers")
        open(path, "w").close()
        workers = [Worker(target=append, args=(lock, path)) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        with open(path) as file:
            numbers = [int(line) for line in file]
    print(f"{WORKERS} workers wrote {len(numbers)} lines, the last is {numbers[-1]}")
    return 0 if numbers == list(range(1, WORKERS * LINES + 1)) else 1


if __name__ == "__main__":
    sys.exit(main())
