"""The core: decides, given the time, and never waits."""
