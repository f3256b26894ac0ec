# SPDX-License-Identifier: MIT
from freethreading import Worker, active_children

def busy_wait():
    while True:
        pass

if __name__ == "__main__":
    daemon = Worker(target=busy_wait, name="Daemon", daemon=True)
    daemon.start()
    print([child.name for child in active_children()])
