# SPDX-License-Identifier: MIT
from freethreading import Worker, enumerate

def busy_wait():
    while True:
        pass

if __name__ == "__main__":
    daemon = Worker(target=busy_wait, name="Daemon", daemon=True)
    daemon.start()
    print([worker.name for worker in enumerate()])
