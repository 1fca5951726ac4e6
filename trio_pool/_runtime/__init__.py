"""Does what the core decides, in Trio."""
