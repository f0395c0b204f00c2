"""Batch sizes, stacked runs and shrinking batches, shared by the iterative attacks."""
