# SPDX-License-Identifier: MIT
from freethreading import Lock, Worker, current_worker

def critical(lock):
    with lock:
        print(f"'{current_worker().name}': acquired lock")

if __name__ == "__main__":
    lock = Lock()
    workers = [
        Worker(name="Worker-1", target=critical, args=(lock,)),
        Worker(name="Worker-2", target=critical, args=(lock,)),
        Worker(name="Worker-3", target=critical, args=(lock,)),
    ]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
