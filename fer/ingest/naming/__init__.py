"""What names say: labels, splits and subjects in the names of files, folders and columns, and how names are encoded."""
