"""Decide without acting: values in, values out; no I/O, no clock, no randomness."""
