"""A job runner for many tenants: each has a share of the workers, a bound of its own, and priorities that concern nobody else.

Some tenants are served beside one that floods the runner with jobs, by two queues in turn:

    plain    a Queue: the tenant that brings most is served most, and all others wait behind it
    fair     a FairQueue: shares by weight, a line for each tenant, priorities that age

For each tenant the table shows how many jobs were done, and how long the slowest of the middle and of the last
hundredth of them waited before a worker took it.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from sluicegate import BoundedExecutor, FairQueue, Queue

WORKERS = 4
WEIGHTS = {"gold": 3.0}
PLANS = {"flood": 1.0, "gold": 0.1, "free": 0.1}  # how many jobs each brings, in relation


@dataclass
class Tenant:
    """What became of one tenant's jobs."""

    name: str
    waits: list[float] = field(default_factory=list)
    urgent: list[float] = field(default_factory=list)

    def run(self, submitted: float, is_urgent: bool, work: float) -> None:
        """A job."""
        (self.urgent if is_urgent else self.waits).append(time.perf_counter() - submitted)
        time.sleep(work)


def queue_of(kind: str, jobs: int) -> Queue[object]:
    """The queue whose name is given."""
    if kind == "plain":
        return Queue(jobs * 2)
    return FairQueue(jobs * 2, per_key=jobs, weights=WEIGHTS, within="priority", aging=60)


def serve(kind: str, jobs: int, work: float) -> dict[str, Tenant]:
    """Run the jobs of all tenants; each tenant has a thread that submits them."""
    tenants = {name: Tenant(name) for name in PLANS}
    with BoundedExecutor(WORKERS, queue=queue_of(kind, jobs)) as pool:

        def bring(tenant: Tenant) -> Iterator[Future[None]]:
            ordinary = pool if kind == "plain" else pool.submitting(key=tenant.name)
            urgent = pool if kind == "plain" else pool.submitting(key=tenant.name, priority=-1)
            for number in range(round(jobs * PLANS[tenant.name])):
                is_urgent = number % 10 == 9
                yield (urgent if is_urgent else ordinary).submit(tenant.run, time.perf_counter(), is_urgent, work)

        def bring_all(tenant: Tenant) -> None:
            for future in list(bring(tenant)):
                future.result()

        flood = list(bring(tenants["flood"]))  # it is there before the others come
        others = [threading.Thread(target=bring_all, args=(tenants[name],)) for name in PLANS if name != "flood"]
        for thread in others:
            thread.start()
        for thread in others:
            thread.join()
        for future in flood:
            future.result()
    return tenants


def percentile(values: list[float], part: float) -> float:
    """The value that this part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


def report(kind: str, tenants: dict[str, Tenant]) -> None:
    """Print a line for each tenant."""
    for tenant in tenants.values():
        print(
            f"{kind:6} {tenant.name:6} {len(tenant.waits) + len(tenant.urgent):6}"
            f" {percentile(tenant.waits, 0.5) * 1e3:10.1f} {percentile(tenant.waits, 0.99) * 1e3:10.1f}"
            f" {percentile(tenant.urgent, 0.99) * 1e3:10.1f}"
        )


def main() -> None:
    """Serve the tenants by one queue after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queue", choices=["plain", "fair"], help="only this one")
    parser.add_argument("--jobs", type=int, default=2000, help="of the tenant that floods (%(default)s)")
    parser.add_argument("--work", type=float, default=0.001, help="seconds of work in each job (%(default)s)")
    arguments = parser.parse_args()
    print("queue  tenant   jobs  wait p50 ms  p99 ms  urgent p99 ms")
    for kind in [arguments.queue] if arguments.queue else ["plain", "fair"]:
        report(kind, serve(kind, arguments.jobs, arguments.work))


if __name__ == "__main__":
    main()
