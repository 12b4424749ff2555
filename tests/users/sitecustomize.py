"""Puts sluicegate's queues in the place of `queue`'s before the program imports anything, if SLUICEGATE_AS_QUEUE is set."""

import os

if os.environ.get("SLUICEGATE_AS_QUEUE"):
    import queue

    import sluicegate

    for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"):
        setattr(queue, name, getattr(sluicegate, name))
