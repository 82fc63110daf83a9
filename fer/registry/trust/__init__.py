"""What proves that releases and their log were written by whom they should be: keys, signatures, what is demanded."""
