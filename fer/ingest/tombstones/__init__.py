"""Images that are to be forgotten: what is kept of them to know them again, and how a run leaves them out."""
