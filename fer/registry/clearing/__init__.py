"""What of the store the registry no longer needs, taken out so that no version is ever half there."""
