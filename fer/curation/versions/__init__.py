"""Two versions of data beside each other."""
