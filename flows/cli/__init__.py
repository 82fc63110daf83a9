"""The `fer` command: `app` puts the groups of commands together, one module for each."""
