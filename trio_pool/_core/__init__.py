"""Decides: called with the time, it never waits."""
