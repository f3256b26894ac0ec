# SPDX-License-Identifier: MIT
from freethreading import Barrier, Worker, current_worker

def synchronized_task(checkpoint):
    print(f"'{current_worker().name}' reached checkpoint")
    checkpoint.wait()
    print(f"'{current_worker().name}' passed checkpoint")

if __name__ == "__main__":
    checkpoint = Barrier(3)
    workers = [
        Worker(name=f"Worker-{i}", target=synchronized_task, args=(checkpoint,))
        for i in range(3)
    ]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
