"""Helpers on top of Python itself: texts, errors, pickles and names, safe against any behavior of users' objects."""
