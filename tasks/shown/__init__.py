"""What a run shows in Prefect's UI: artifacts, panels, its summary, and its graph."""
