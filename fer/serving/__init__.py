"""Predicting with a release: by its export, without TensorFlow."""
