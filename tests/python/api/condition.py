# SPDX-License-Identifier: MIT
# With one thing more than the text has: the producer starts when the consumer
# holds the condition, and so notifies when it waits.  Without that the notification
# can come first, and is lost: conditions do not remember.
from freethreading import Condition, Event, Queue, Worker, current_worker

def producer(condition, queue, data):
    with condition:
        queue.put(data)
        print(f"'{current_worker().name}' sent: {data}")
        condition.notify()

def consumer(condition, queue, ready):
    with condition:
        ready.set()
        condition.wait()
        print(f"'{current_worker().name}' received: {queue.get()}")

if __name__ == "__main__":
    condition = Condition()
    queue = Queue()
    ready = Event()
    c = Worker(name="Consumer", target=consumer, args=(condition, queue, ready))
    p = Worker(name="Producer", target=producer, args=(condition, queue, 42))
    c.start()
    ready.wait()
    p.start()
    c.join()
    p.join()
