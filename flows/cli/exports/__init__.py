"""Commands on the exported forms of a release."""
