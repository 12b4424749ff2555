"""Runs one contender of one row for a given number of items, and nothing else: for callgrind, perf and strace.

python benches/python/one.py put-get sluicegate 100000
"""

import sys

from sluicegate._bench import select
from sluicegate._bench.rows import find_rows


def main(row_name: str, contender_name: str, items: str) -> None:
    (row,) = select(find_rows(), [row_name])
    contender = next(each for each in row.contenders if each.name == contender_name)
    sample = contender.run(int(items))
    print(f"{row.name}, {contender.name}: {sample.items} items, {sample.nanoseconds:.1f} ns each")


if __name__ == "__main__":
    main(*sys.argv[1:])
