"""From a manifest to splits that can be trusted."""
