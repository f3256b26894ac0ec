# SPDX-License-Identifier: MIT
"""A program that does one thing for the first time and prints a number:
program.py KIT worker|pool|idle|ITEMS."""

import sys


def worker(kit):
    """Seconds for the first worker, from start to join."""
    from time import perf_counter

    start = perf_counter()
    worker = kit.Worker(target=abs, args=(1,))
    worker.start()
    worker.join()
    return perf_counter() - start


def pool(kit):
    """Seconds for the first pool to answer its first map."""
    from time import perf_counter

    start = perf_counter()
    with kit.pool(2) as pool:
        pool.map(abs, range(2))
        return perf_counter() - start


def idle(kit):
    """Unique KiB of an idle worker of a pool."""
    from bench import memory

    return memory.of_idle_worker(kit)


def queued(kit, items):
    """Bytes that a queued item takes beyond its payload."""
    from bench import memory

    return memory.of_queued_item(kit, items)


def main(name, what):
    import os

    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from bench import kit, locate

    made = kit.make(name, locate.backend())
    if what.isdigit():
        print(queued(made, int(what)))
    else:
        print({"worker": worker, "pool": pool, "idle": idle}[what](made))


if __name__ == "__main__":
    main(*sys.argv[1:])
