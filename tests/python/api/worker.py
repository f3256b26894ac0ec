# SPDX-License-Identifier: MIT
from freethreading import Worker, current_worker

def greet():
    print(f"Hello from {current_worker().name}!")

if __name__ == "__main__":
    worker = Worker(name="Worker", target=greet)
    worker.start()
    worker.join()
