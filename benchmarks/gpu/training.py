"""Rows of training: fine-tuning, masked pre-training, resuming, and DDP."""

from benchmarks.gpu.rows import Row

ROWS: tuple[Row, ...] = ()
