"""Prefect flows, each named by what an operator does with it, and the `fer` command."""
