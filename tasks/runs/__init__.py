"""What a run says of itself and comes to: its events, its log lines, its final state and its results."""
