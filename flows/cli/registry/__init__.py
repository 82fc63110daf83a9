"""The commands of `fer models …` that show what is in the registry."""
