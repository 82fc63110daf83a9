"""From a trained model to files that need neither TensorFlow nor this package."""
