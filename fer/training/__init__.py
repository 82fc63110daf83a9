"""From shards to a model."""
