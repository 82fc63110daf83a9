"""The command that scores many pictures."""
