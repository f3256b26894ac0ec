# SPDX-License-Identifier: MIT
from freethreading import Queue, Worker

def producer(queue):
    for value in range(3):
        print(f"Producing {value}")
        queue.put(value)
    queue.put(None)

def consumer(queue):
    while True:
        item = queue.get()
        if item is None:
            queue.task_done()
            break
        print(f"Consuming {item}")
        queue.task_done()

if __name__ == "__main__":
    queue = Queue()
    producer_worker = Worker(name="Producer", target=producer, args=(queue,))
    consumer_worker = Worker(name="Consumer", target=consumer, args=(queue,))
    producer_worker.start()
    consumer_worker.start()
    queue.join()
    producer_worker.join()
    consumer_worker.join()
