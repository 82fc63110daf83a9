"""Pixels as Parquet: preprocessed, balanced, reused."""
