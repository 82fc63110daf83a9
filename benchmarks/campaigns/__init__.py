"""Campaigns: attacks on the project that take hours, one trial after the other, each a line of a file.

They go on where they stopped, and are part of neither `make bench` nor CI: `python -m benchmarks.campaigns.NAME`.
"""
