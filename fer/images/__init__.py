"""One picture: its header, its pixels, its properties and its face; prepared for a model, augmented, and corrupted."""
