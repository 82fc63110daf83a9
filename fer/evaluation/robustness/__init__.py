"""What a model makes of images that are worse than those it was trained on, or moved a little."""
