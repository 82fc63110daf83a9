"""The models that a candidate is measured by: the champion, and the champion's answers to today's test."""
