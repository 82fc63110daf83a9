"""Networks: built by name, saved, loaded, frozen, scored."""
