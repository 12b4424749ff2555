"""Every example is run, with small numbers, and says what its page says it does."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def load(program: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(program.removesuffix(".py"), EXAMPLES / program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def test_all_examples_are_listed_and_tested() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text("utf-8")))
    assert programs == {
        "batch_inference.py",
        "crawler.py",
        "csv_to_sqlite.py",
        "fan_out.py",
        "job_runner.py",
        "log_consumer.py",
        "model_api.py",
        "overload.py",
        "producer_consumer.py",
        "rate_limited_client.py",
    }


# Pipelines.


def test_the_producer_is_never_far_ahead() -> None:
    printed = run("producer_consumer.py", "--speed", "100")
    assert printed.endswith("produced 20, consumed 20\n")
    ahead = [len(hashes) for hashes in re.findall(r"^produced +\d+ +(#+)$", printed, re.MULTILINE)]
    assert len(ahead) == 20
    assert max(ahead) <= 3 + 1 + 1  # the buffer, the consumer's, and one that has just been consumed and is not counted yet


def test_rows_are_loaded_or_counted() -> None:
    assert run("csv_to_sqlite.py", "--rows", "1000") == "3960 rows inserted from 4 files, 40 could not be parsed\n"


def test_the_crawler_finds_every_page_once() -> None:
    printed = run("crawler.py", "--pages", "15")
    assert re.match(r"29 pages in \d\.\d s, [12] requests at a time to one host\nfetched more than once: 0\n$", printed), printed


def test_requests_are_batched() -> None:
    printed = run("batch_inference.py", "--requests", "200", "--clients", "40")
    (calls,) = re.findall(r"^200 answers from (\d+) calls", printed)
    assert int(calls) < 100


def test_no_message_is_lost() -> None:
    printed = run("log_consumer.py", "--messages", "60")
    assert "committed [60, 60, 60]; 180 messages handled, " in printed
    assert "died with offsets" in printed


# The job runner.


def test_a_fair_queue_protects_tenants_from_a_flood() -> None:
    """Every job is done; what waits, and how long, is for the reader: here only its order counts, which no clock decides."""
    printed = run("job_runner.py", "--jobs", "200", "--work", "0.0005")
    lines = [line.split() for line in printed.splitlines()[1:]]
    assert [(kind, tenant, int(jobs)) for kind, tenant, jobs, *_ in lines] == [
        (kind, tenant, jobs) for kind in ("plain", "fair") for tenant, jobs in (("flood", 200), ("gold", 20), ("free", 20))
    ]


# The model API.


def test_a_client_that_knows_the_limits_is_hardly_ever_refused() -> None:
    """Not never: a busy machine may hold up one request longer than the margin, and the next one not. One that is busier still asks so
    slowly that nobody is refused. So it has three attempts."""
    for _ in range(3):
        printed = run("model_api.py", "--prompts", "60")
        numbers = r" +(\d+) +(\d+) +(\d+) +(\d+) "
        (plain,), (guarded,) = (re.findall(rf"^{name}{numbers}", printed, re.MULTILINE) for name in ("plain", "guarded"))
        assert (guarded[0], guarded[3]) == ("60", "0")
        if int(plain[1]) > 10 and int(guarded[1]) < int(plain[1]) / 2:
            return
    assert int(plain[1]) > 10
    assert int(guarded[1]) < int(plain[1]) / 2


# The fan-out to websockets.


def test_a_slow_websocket_client_holds_up_nobody() -> None:
    """Memory is flat, the others get everything, and the slow one knows what it has missed."""
    pytest.importorskip("websockets")
    clients, items = 4, 3000
    printed = run("fan_out.py", "--clients", str(clients), "--items", str(items))
    assert f"quick clients: {clients} got {items} of {items} items\n" in printed
    found = re.search(rf"slow client: got (\d+) and missed (\d+) of {items} items\n", printed)
    assert found, printed
    got, missed = map(int, found.groups())
    assert got + missed == items
    assert missed > 0  # 12 MB are more than what sockets hold
    found = re.search(r"stored at one time: at most (\d+) items", printed)
    assert found, printed
    assert int(found[1]) <= 200, "at most 100 for the slow client, and those that the quick ones have yet to take"


# The rate-limited client.

PAGES = 20


def fetch(limiter: str, *arguments: str) -> tuple[int, int]:
    """How many pages were fetched, and how many requests were refused."""
    printed = run("rate_limited_client.py", "--limiter", limiter, "--pages", str(PAGES), "--threads", "4", "--tasks", "4", *arguments)
    (line,) = re.findall(rf"^{limiter}\b.*$", printed, re.MULTILINE)
    _, pages, refused, *_ = line.split()
    return int(pages), int(refused)


@pytest.mark.parametrize("limiter", ["none", "bucket"])
def test_without_the_right_limiter_the_server_refuses(limiter: str) -> None:
    pages, refused = fetch(limiter)
    assert pages == PAGES
    assert refused > 0


def test_a_window_with_a_margin_is_not_refused() -> None:
    # It could be, if the machine held up a request for longer than the margin and not the next one: it would have to do so every time.
    for _ in range(5):
        pages, refused = fetch("window", "--margin", "0.5")
        assert pages == PAGES
        if refused == 0:
            return
    raise AssertionError(f"refused {refused} times")


def test_counting_from_the_answer_is_never_refused() -> None:
    assert fetch("answer") == (PAGES, 0)


def test_the_servers_quota_counts_any_window_and_not_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("rate_limited_client.py")
    quota = example.Quota(2, 1.0)
    answers = []
    for now in (0.0, 0.75, 0.75, 0.875, 1.0, 1.5, 1.75):
        monkeypatch.setattr(example, "time", SimpleNamespace(monotonic=lambda now=now: now))
        answers.append(quota.ask())
    assert answers == [None, None, 0.25, 0.125, None, 0.25, None]
    assert quota.refused == 3
    assert quota.busiest() == 5  # those after 0.5 and until 1.5


def test_the_servers_answers_are_plain_http() -> None:
    import http.client
    import threading

    example = load("rate_limited_client.py")
    with example.Server(example.Quota(1, 60.0)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        connection = http.client.HTTPConnection(example.HOST, server.server_port, timeout=10)
        try:
            connection.request("GET", "/page/1")
            first = connection.getresponse()
            assert (first.status, first.read()) == (200, b"this is /page/1\n")
            connection.request("GET", "/page/2")
            second = connection.getresponse()
            assert (second.status, second.headers["Retry-After"]) == (429, "60")
            second.read()
        finally:
            connection.close()
            server.shutdown()


# HTTP.


def test_an_overloaded_server_keeps_its_goodput() -> None:
    """At twice the load nearly all answers come in time with the middleware, and few without."""
    printed = run("overload.py", "--seconds", "3")
    rows = [[float(number) for number in re.findall(r"(?<![\w.])\d+(?= )", row)] for row in printed.splitlines()[3:]]
    at = {row[0]: row for row in rows}
    assert set(at) == {100, 180, 240, 400, 800}
    for offered in (400, 800):
        _, in_time, late, _, limited, limited_late, refused, _ = at[offered]
        assert in_time < 100 < 195 <= limited
        assert limited_late == 0
        assert late > refused > offered - 230
    assert abs(at[100][1] - at[100][4]) <= 1, "below its capacity nothing is refused"
    assert at[100][6] == 0
