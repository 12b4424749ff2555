"""What the tests of `sluicegate.http` share: requests made in process, and a limiter that writes down how its calls ended."""

from __future__ import annotations

import asyncio

from sluicegate import Overloaded


def scope(path="/", method="GET", peer="203.0.113.9", headers=(), **more):
    return {"type": "http", "method": method, "path": path, "client": (peer, 50000), "headers": list(headers), **more}


class Response:
    """The messages of one response, and what they say."""

    def __init__(self, messages):
        self.messages = messages
        starts = [message for message in messages if message["type"] == "http.response.start"]
        assert len(starts) <= 1
        self.status = starts[0]["status"] if starts else None
        self.headers = {name.decode(): value.decode() for name, value in starts[0]["headers"]} if starts else {}
        self.body = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")


async def ask_async(app, *args, **kwargs):
    messages = []

    async def send(message):
        messages.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope(*args, **kwargs), receive, send)
    return Response(messages)


def ask(app, *args, **kwargs):
    return asyncio.run(ask_async(app, *args, **kwargs))


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def three_chunks(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for chunk in (b"a", b"b"):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"c", "more_body": False})


class Recording:
    """A limiter whose permits are told how their calls ended, as those of an adaptive limit."""

    name = "recording"

    def __init__(self, refuses=False):
        self.refuses = refuses
        self.ended = []
        self.held = 0
        self.priorities = []

    def permit(self, *, priority=0):
        self.priorities.append(priority)
        return _RecordingPermit(self)


class _RecordingPermit:
    def __init__(self, limiter):
        self.limiter = limiter
        self.outcome = None

    def __enter__(self):
        if self.limiter.refuses:
            raise Overloaded("{} is busy", self.limiter.name, 2.5, "shed")
        self.limiter.held += 1
        return self

    async def __aenter__(self):
        return self.__enter__()

    def success(self):
        self.outcome = "success"

    def failure(self, error=None, *, retry_after=None):
        self.outcome = "failure"

    def ignore(self):
        self.outcome = "ignore"

    def __exit__(self, kind, error, traceback):
        self.limiter.held -= 1
        self.limiter.ended.append(self.outcome if kind is None else kind.__name__)

    async def __aexit__(self, *exc_info):
        self.__exit__(*exc_info)
