# SPDX-License-Identifier: MIT
from freethreading import SimpleQueue, Worker

def fill_queue(queue):
    queue.put("hello")
    queue.put("world")

if __name__ == "__main__":
    queue = SimpleQueue()
    worker = Worker(target=fill_queue, args=(queue,))
    worker.start()
    print(queue.get())
    print(queue.get())
    worker.join()
    print(queue.empty())
