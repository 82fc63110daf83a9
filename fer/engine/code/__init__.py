"""What code a stage runs, as the keys of its outputs count it."""
