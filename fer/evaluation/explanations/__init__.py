"""Where a model looks, and which of its mistakes are worth a second look at the label."""
