# SPDX-License-Identifier: MIT
"""Queues: workers take numbers from one and put squares into another.

    python3 03_queue.py

The first queue is bounded: put waits while ten numbers lie in it.  An event
tells the workers when everything is ready.
"""

import sys

from freethreading import Event, Queue, Worker

WORKERS = 3
NUMBERS = 100


def square(go, numbers, squares):
    go.wait()
    while (number := numbers.get()) is not None:
        squares.put(number * number)
        numbers.task_done()
    numbers.task_done()


def main():
    go, numbers, squares = Event(), Queue(maxsize=10), Queue()
    workers = [Worker(target=square, args=(go, numbers, squares)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    go.set()
    for number in range(NUMBERS):
        numbers.put(number)
    for _ in workers:
        numbers.put(None)
    total = sum(squares.get() for _ in range(NUMBERS))
    numbers.join()
    for worker in workers:
        worker.join()
    print(f"the sum of {NUMBERS} squares is {total}")
    return 0 if total == sum(number * number for number in range(NUMBERS)) else 1


if __name__ == "__main__":
    sys.exit(main())
