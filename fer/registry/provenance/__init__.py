"""What a release was made of, stage by stage, and whether it can be made of that again."""
