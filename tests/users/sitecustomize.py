"""Puts sluicegate's queues in the place of `queue`'s before the program imports anything, if SLUICEGATE_AS_QUEUE is set."""

import os

if os.environ.get("SLUICEGATE_AS_QUEUE"):
    import queue

    import sluicegate

    for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"):
        setattr(queue, name, getattr(sluicegate, name))
    if not hasattr(queue, "ShutDown"):  # before 3.13; a test that asks for `Queue.shutdown` then runs
        queue.ShutDown = sluicegate.ShutDown
