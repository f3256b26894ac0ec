# SPDX-License-Identifier: MIT
"""A pool: the same workers for many tasks, and errors that come back.

    python3 04_pool.py
"""

import sys

from freethreading import WorkerPool


def square(x):
    return x * x


def power(base, exponent):
    return base**exponent


def invert(x):
    return 1 / x


def main():
    with WorkerPool(workers=2) as pool:
        squares = pool.map(square, range(10))
        powers = pool.starmap(power, [(2, 3), (3, 2)])
        unordered = sorted(pool.imap_unordered(square, range(10)))
        later = pool.apply_async(power, (2, 10))
        try:
            pool.apply(invert, (0,))
            error = None
        except ZeroDivisionError as caught:
            error = caught
        thousand = later.get(timeout=30)
    print(squares)
    print(powers, thousand, "and an error from a worker:", error)
    expected = [x * x for x in range(10)]
    right = squares == unordered == expected and powers == [8, 9] and thousand == 1024
    return 0 if right and error is not None else 1


if __name__ == "__main__":
    sys.exit(main())
