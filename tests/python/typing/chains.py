"""The types of a pipeline's chain, for pyright and for `mypy --strict` alike: what fits is inferred, and what does not is an error.

An ignore that is not needed is an error for both of them, so each line with one is a line that is refused.
"""

from __future__ import annotations

from typing_extensions import assert_type

from sluicegate import Pipeline, PipelineRun


async def later(number: int) -> str:
    return str(number)


def chains() -> None:
    numbers = Pipeline([1, 2])
    assert_type(numbers, Pipeline[int])
    assert_type(numbers.map(str), Pipeline[str])
    assert_type(numbers.map(later, workers=3, timeout=1), Pipeline[str])
    assert_type(numbers.map(str).flat_map(str.split).batch(3), Pipeline[list[str]])
    assert_type(numbers.map(str).batch(3).unbatch().filter(bool), Pipeline[str])
    assert_type(numbers.map(str).keyed_map(len, key=str.lower, workers=3), Pipeline[int])
    assert_type(numbers.map(str).start(), PipelineRun[str])


def wrong_chains() -> None:
    Pipeline(3)  # type: ignore[arg-type]
    strings = Pipeline([1, 2]).map(str)
    strings.map(later)  # type: ignore[arg-type]
    strings.for_each(later)  # type: ignore[arg-type]
    strings.keyed_map(later, key=len, workers=3)  # type: ignore[arg-type]
    strings.keyed_map(len, key=later, workers=3)  # type: ignore[arg-type]
    strings.on_error("later")  # type: ignore[arg-type]
    strings.merge([1])  # type: ignore[arg-type]
