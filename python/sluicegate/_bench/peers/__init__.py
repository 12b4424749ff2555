"""What the rows measure: our objects, the standard library's, and the packages, each behind a few callables."""
