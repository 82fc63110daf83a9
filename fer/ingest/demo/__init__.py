"""The synthetic faces that `--source demo` stands for: no account, no network."""
