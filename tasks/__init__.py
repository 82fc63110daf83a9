"""Prefect tasks: each wraps one stage of `fer` with its cache key, retries, time limit and artifacts."""
