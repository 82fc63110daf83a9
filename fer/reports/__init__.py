"""Pages and pictures for people, from JSON and Parquet."""
