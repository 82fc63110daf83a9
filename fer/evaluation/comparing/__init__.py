"""Models beside each other: what they answer to the same images, and what they cost."""
