"""What an installation no longer needs, and what it must not lose: removal by one rule, backup and restore."""
