# SPDX-License-Identifier: MIT
"""An executor: futures, as concurrent.futures has them.

    python3 05_executor.py

The futures are the standard library's, so wait() and as_completed() work.
"""

import sys
from concurrent.futures import as_completed

from freethreading import WorkerPoolExecutor


def is_prime(n):
    return n > 1 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))


def count_primes(low, high):
    return sum(map(is_prime, range(low, high)))


def main():
    bounds = range(0, 100_000, 10_000)
    with WorkerPoolExecutor(max_workers=2) as executor:
        futures = {executor.submit(count_primes, low, low + 10_000): low for low in bounds}
        counts = {futures[future]: future.result() for future in as_completed(futures)}
        first = list(executor.map(is_prime, range(10)))
    for low in bounds:
        print(f"{low:6} to {low + 9_999:6}: {counts[low]:5} primes")
    total = sum(counts.values())
    print("in all:", total)
    small = [n for n, prime in enumerate(first) if prime]
    return 0 if total == 9592 and small == [2, 3, 5, 7] else 1


if __name__ == "__main__":
    sys.exit(main())
