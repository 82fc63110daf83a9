"""From pictures without labels to a table of what a release says of them, and how far that can be believed."""
