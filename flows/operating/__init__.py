"""What an installation has beside its flows: services, deployments, automations, and the upkeep of what it keeps."""
