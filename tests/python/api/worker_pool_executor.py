# SPDX-License-Identifier: MIT
from freethreading import WorkerPoolExecutor

def square(x):
    return x * x

if __name__ == "__main__":
    with WorkerPoolExecutor(max_workers=4) as executor:
        results = list(executor.map(square, range(10)))
    print(results)
