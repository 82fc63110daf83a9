"""The overview of an installation: what runs, the models and how they stand, the disk, and what needs a person."""
