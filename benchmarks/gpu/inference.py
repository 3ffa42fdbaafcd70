"""Rows of restoration: whole folders, one large image, one pass of each network, and checks."""

from benchmarks.gpu.rows import Row

ROWS: tuple[Row, ...] = ()
