"""A lack of memory in a guard, a breaker or a permit: the call raises MemoryError or goes on, and nothing is lost of what was taken."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def _run(code: str) -> None:
    pytest.importorskip("_testcapi")  # an interpreter without CPython's own tests
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-1000:])


@pytest.mark.parametrize("way", ["guard.call(int)", "by_hand()", "by_try()"])
def test_a_change_of_state_loses_no_probe(way: str) -> None:
    # The report of the change needs memory, and the probe has begun already.
    _run(f"""
        import logging
        import sys
        import _testcapi
        import sluicegate
        logging.disable(50)
        sys.unraisablehook = lambda seen: None
        for start in range(14):
            breaker = sluicegate.CircuitBreaker(probes=1, probe_timeout=1e6)
            guard = sluicegate.Guard(breaker=breaker)
            def by_hand():
                with breaker.permit():
                    return int()
            def by_try():
                permit = breaker.permit()
                if not permit.try_acquire():
                    raise AssertionError("the probe is lost")
                permit.success()
            {way}
            breaker.force_open(1e-9)
            _testcapi.set_nomemory(start, start + 1)
            try:
                {way}
            except BaseException:
                pass
            finally:
                _testcapi.remove_mem_hooks()
            {way}  # CircuitOpen if the probe is lost
    """)


def test_the_end_of_a_block_gives_back_what_it_holds() -> None:
    # To judge an exception needs memory.
    _run("""
        import logging
        import sys
        import _testcapi
        import sluicegate
        logging.disable(50)
        sys.unraisablehook = lambda seen: None
        for start in range(40):
            breaker, limit = sluicegate.CircuitBreaker(), sluicegate.Semaphore(1)
            def failing():
                with limit.permit(), breaker.permit():
                    raise OSError
            for _ in range(2):
                try:
                    failing()
                except OSError:
                    pass
            _testcapi.set_nomemory(start, start + 1)
            try:
                failing()
            except BaseException:
                pass
            finally:
                _testcapi.remove_mem_hooks()
            assert limit.value == 1, start
    """)


@pytest.mark.parametrize("limit", ["sluicegate.Semaphore(1)", "sluicegate.AdaptiveConcurrency(target=1, initial=1, max=1)"])
def test_a_failed_attempt_gives_back_what_it_holds(limit: str) -> None:
    _run(f"""
        import logging
        import sys
        import _testcapi
        import sluicegate
        logging.disable(50)
        sys.unraisablehook = lambda seen: None
        def failing():
            raise OSError
        for start in range(60):
            limit = {limit}
            guard = sluicegate.Guard(breaker=sluicegate.CircuitBreaker(), concurrency=limit)
            def call():
                try:
                    guard.call(failing)
                except OSError:
                    pass
            call()
            call()
            _testcapi.set_nomemory(start, start + 1)
            try:
                call()
            except BaseException:
                pass
            finally:
                _testcapi.remove_mem_hooks()
            with limit.permit(timeout=0):
                pass
    """)
