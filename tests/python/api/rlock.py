# SPDX-License-Identifier: MIT
from freethreading import RLock, Worker, current_worker

def countdown(rlock, n):
    with rlock:
        if n > 0:
            print(f"'{current_worker().name}': {n}...")
            countdown(rlock, n - 1)
        else:
            print(f"'{current_worker().name}': go!")

if __name__ == "__main__":
    rlock = RLock()
    worker = Worker(name="Worker-0", target=countdown, args=(rlock, 3))
    worker.start()
    worker.join()
