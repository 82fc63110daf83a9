"""Parquet from elsewhere: what a file says of its sizes is read and bounded before anything of it is decompressed."""
