# SPDX-License-Identifier: MIT
from freethreading import WorkerPool

def square(x):
    return x * x

if __name__ == "__main__":
    with WorkerPool(workers=4) as pool:
        print(pool.map(square, range(10)))
