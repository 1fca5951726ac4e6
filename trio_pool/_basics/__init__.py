"""What the library needs of Python itself: texts, errors, pickles and names that users' objects can't spoil."""
