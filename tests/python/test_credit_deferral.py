"""`Credit.defer_to` from two threads at once: no cycle comes about, and no channel is without credit for ever."""

from __future__ import annotations

import threading

from sluicegate import CreditChannel

PAIRS = 3000


def test_opposite_deferrals_at_once():
    """Two threads defer in opposite directions, many times: exactly one of them is refused."""
    barrier = threading.Barrier(2)
    rounds = [(CreditChannel(4), CreditChannel(4)) for _ in range(PAIRS)]
    refused: list[list[bool]] = [[], []]

    def defer(index):
        for pair in rounds:
            up, down = pair[index], pair[1 - index]
            barrier.wait()
            try:
                up.receiver.credit.defer_to(down.sender)
                refused[index].append(False)
            except ValueError:
                refused[index].append(True)

    threads = [threading.Thread(target=defer, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one + other for one, other in zip(*refused, strict=True)] == [1] * PAIRS
    for pair in rounds:
        for channel in pair:
            channel.sender.send_many(range(4))
        for channel in pair:
            assert channel.receiver.receive_many(4) == [0, 1, 2, 3]
        assert [channel.sender.credit for channel in pair] == [4, 4]
        for channel in pair:
            channel.sender.complete()
