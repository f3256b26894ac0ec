# SPDX-License-Identifier: MIT
from freethreading import Event, Worker, current_worker

def wait(event):
    print(f"'{current_worker().name}': waiting for notification")
    event.wait()
    print(f"'{current_worker().name}': received notification")

def notify(event):
    event.set()
    print(f"'{current_worker().name}': sent notification")

if __name__ == "__main__":
    event = Event()
    waiter = Worker(name="Waiter", target=wait, args=(event,))
    notifier = Worker(name="Notifier", target=notify, args=(event,))
    waiter.start()
    notifier.start()
    waiter.join()
    notifier.join()
