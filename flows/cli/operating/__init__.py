"""The commands by which an installation is run: its services, what it plans and did, and its upkeep."""
