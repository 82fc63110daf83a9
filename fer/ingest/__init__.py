"""From a source (Kaggle, archive, folder, demo) to a manifest: download and index."""
