# SPDX-License-Identifier: MIT
from freethreading import Worker, active_count

def busy_wait():
    while True:
        pass

if __name__ == "__main__":
    daemon = Worker(target=busy_wait, daemon=True)
    daemon.start()
    print(active_count())  # Should print 2 (main worker + daemon worker)
