# SPDX-License-Identifier: MIT
from freethreading import Semaphore, Worker, current_worker

def limited_resource(sem):
    with sem:
        print(f"'{current_worker().name}': in restricted section")

if __name__ == "__main__":
    sem = Semaphore(1)
    workers = [
        Worker(name=f"Worker-{i}", target=limited_resource, args=(sem,))
        for i in range(3)
    ]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
