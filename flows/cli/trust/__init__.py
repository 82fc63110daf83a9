"""The commands `fer keys …`, and those of `fer models …` that sign, verify and fetch releases."""
