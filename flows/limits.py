"""Bounds that the flows and the `fer` command share, in a module that loads nothing."""

MAX_CONCURRENT_TRIALS = 64  # of one sweep
