# SPDX-License-Identifier: MIT
"""Workers: run functions side by side and wait for them.

    python3 01_worker.py

Without the `if __name__ == "__main__"` line a worker that is a process would
start the program again while it imports it.
"""

import sys

from freethreading import Queue, Worker, current_worker


def greet(answers, whom):
    answers.put(f"{current_worker().name} greets {whom}")


def main():
    answers = Queue()
    workers = [
        Worker(target=greet, args=(answers, whom), name=name)
        for name, whom in (("Ada", "the world"), ("Blaise", "Ada"))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    greetings = sorted(answers.get() for _ in workers)
    print(*greetings, sep="\n")
    alive = any(worker.is_alive() for worker in workers)
    return 0 if greetings == ["Ada greets the world", "Blaise greets Ada"] and not alive else 1


if __name__ == "__main__":
    sys.exit(main())
