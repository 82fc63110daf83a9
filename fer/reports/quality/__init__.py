"""The data quality report."""
