"""One picture: decoded, its face found, prepared, augmented."""
