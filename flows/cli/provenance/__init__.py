"""The commands that say what releases were made of: whether they can be made again, and what knew an image."""
