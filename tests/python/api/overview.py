# SPDX-License-Identifier: MIT
from freethreading import Worker, WorkerPool, WorkerPoolExecutor, current_worker

def greet():
    print(f"Hello from {current_worker().name}!")

def square(x):
    return x * x

if __name__ == "__main__":
    # MainThread or MainProcess
    print(current_worker().name)

    # Using Worker to distribute work
    w = Worker(target=greet, name="MyWorker")
    w.start()
    w.join()

    # Using WorkerPool to distribute work
    with WorkerPool(workers=2) as pool:
        print(pool.map(square, range(5)))

    # Using WorkerPoolExecutor to distribute work
    with WorkerPoolExecutor(max_workers=2) as executor:
        future = executor.submit(greet)
