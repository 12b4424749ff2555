"""A thread publishes to websocket clients, one of which does not read.

Each connection subscribes to one broadcast, and its path says what is to happen when the client does not keep up: `/block`, for clients
that are trusted to read, makes the thread wait; `/drop_oldest` holds up neither the thread nor the other clients, and what waits for it
takes bounded memory.

    pip install sluicegate websockets
    python examples/fan_out.py [--clients 10] [--items 5000]

Here all clients but one read as fast as they can, by `/block`, and get everything. The other one connects by `/drop_oldest` and reads
nothing until everything has been published. Then it finds what the network and its subscriber have kept for it, and is told how much it has
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from typing import Literal, cast

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from sluicegate import Broadcast, SimpleQueue

KEPT = 100  # items that wait for one client at most
PAYLOAD = "." * 4000


class Server:
    """Sends everybody what is published, as far as they read."""

    def __init__(self) -> None:
        self.items: Broadcast[str] = Broadcast(name="items")
        self.connected: SimpleQueue[str] = SimpleQueue()

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one client until the end, or until it leaves."""
        path = connection.request.path if connection.request else ""
        overflow = cast("Literal['block', 'drop_oldest']", path.removeprefix("/"))
        with self.items.subscribe(KEPT, overflow=overflow) as mine:
            self.connected.put(path)
            async for item in mine:
                await connection.send(f"{mine.missed} {item}")  # waits while the client does not read

    def publish(self, count: int) -> None:
        """Run in a thread."""
        for number in range(count):
            self.items.publish(f"{number} {PAYLOAD}")
        self.items.shutdown()


async def read(connection: ClientConnection) -> tuple[int, int]:
    """Read to the end. Return how many items came, and how many were missed before the last."""
    count, missed = 0, 0
    try:
        async for message in connection:
            before, number, _ = str(message).split(" ")
            missed = int(before)
            if int(number) != count + missed:
                raise ValueError(f"item {number} came after {count} items, with {missed} missed")
            count += 1
    except websockets.ConnectionClosed:
        pass
    return count, missed


async def main(clients: int, items: int) -> None:
    """Serve, connect, publish, and say what came of it."""
    server = Server()
    async with serve(server.handle, "127.0.0.1", 0, compression=None, ping_interval=None) as listening:
        host, port = listening.sockets[0].getsockname()[:2]
        paths = ["drop_oldest"] + ["block"] * clients
        connections = [await connect(f"ws://{host}:{port}/{path}", compression=None, ping_interval=None) for path in paths]
        for _ in connections:
            await server.connected.get_async()
        slow, *quick = connections
        readers = [asyncio.ensure_future(read(connection)) for connection in quick]
        thread = threading.Thread(target=server.publish, args=(items,))
        thread.start()
        results = await asyncio.gather(*readers)
        thread.join()
        print(f"quick clients: {clients} got {min(count for count, _ in results)} of {items} items")
        count, missed = await read(slow)
        print(f"slow client: got {count} and missed {missed} of {items} items")
        seen = server.items.statistics()
        print(f"stored at one time: at most {seen.peak_size} items for {clients + 1} clients")
        for connection in connections:
            await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10, help="clients that read")
    parser.add_argument("--items", type=int, default=5000, help="items that are published")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.clients, arguments.items))
