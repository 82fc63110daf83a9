"""From a source to a manifest."""
