"""Measurements: `make bench`, or one by `make bench-NAME`."""
