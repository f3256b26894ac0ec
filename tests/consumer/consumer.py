# SPDX-License-Identifier: MIT
"""The installed package, from outside the source tree."""
import freethreading


def square(x):
    return x * x


if __name__ == "__main__":
    with freethreading.WorkerPool(2) as pool:
        assert pool.map(square, range(100)) == [x * x for x in range(100)]
    print("Python,", freethreading.get_backend(), freethreading.__file__)
