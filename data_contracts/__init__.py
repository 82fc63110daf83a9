"""What each dataset between stages must look like, and why: schemas, rules, and the names of files."""
