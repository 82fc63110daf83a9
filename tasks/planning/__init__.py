"""What a run would do, found out by walking through its flow without doing it."""
