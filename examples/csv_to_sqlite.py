"""Load compressed CSV files into SQLite: files are read in threads, rows parsed in others, and inserted by the main thread.

A connection of sqlite3 belongs to one thread, so the sink runs in the caller (`in_caller=True`). Rows are inserted 500 at a time. Rows that
cannot be parsed go to a queue, and are counted at the end.

    python examples/csv_to_sqlite.py                     # files of its own, in a temporary folder
    python examples/csv_to_sqlite.py a.csv.gz b.csv.gz --database sales.sqlite
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sluicegate import DeadLetter, Pipeline, Queue


class Sale(NamedTuple):
    """A row of the table."""

    product: str
    amount: int
    price: float


def read(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a file."""
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.reader(file)


def parse(row: list[str]) -> Sale:
    """Make a row of the table."""
    product, amount, price = row
    return Sale(product, int(amount), float(price))


def load(paths: list[Path], database: str) -> tuple[int, int]:
    """Load the files, and return how many rows were inserted and how many could not be parsed."""
    bad: Queue[DeadLetter] = Queue(100_000)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS sales (product TEXT, amount INTEGER, price REAL)")

        def insert(sales: list[Sale]) -> None:
            with connection:
                connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", sales)

        rows = Pipeline(paths, name="load").flat_map(read, workers=2, ordered=False, buffer=1000)
        sales = rows.map(parse, buffer=1000).on_error(dead_letter=bad)
        sales.batch(500, linger=0.2).for_each(insert, in_caller=True, buffer=1).run()

        (count,) = connection.execute("SELECT count(*) FROM sales").fetchone()
        return count, bad.qsize()


def make_files(folder: Path, files: int, rows: int) -> list[Path]:
    """Write files to load; one row in a hundred is damaged."""
    chance = random.Random(1)  # noqa: S311 - not for secrets
    paths = [folder / f"sales-{number}.csv.gz" for number in range(files)]
    for path in paths:
        with gzip.open(path, "wt", newline="") as file:
            for row in range(rows):
                amount = "many" if row % 100 == 99 else str(chance.randint(1, 9))
                csv.writer(file).writerow([chance.choice(["apple", "pear", "plum"]), amount, f"{chance.random():.2f}"])
    return paths


def main() -> None:
    """Load the files that are named, or some of our own."""
    parser = argparse.ArgumentParser(description="Load compressed CSV files into SQLite.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--database", default=":memory:", metavar="FILE", help="default: in memory")
    parser.add_argument("--rows", type=int, default=20_000, metavar="N", help="rows in each file of our own; default: %(default)s")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = arguments.files or make_files(Path(folder), 4, arguments.rows)
        inserted, bad = load(paths, arguments.database)
    print(f"{inserted} rows inserted from {len(paths)} files, {bad} could not be parsed")


if __name__ == "__main__":
    main()
