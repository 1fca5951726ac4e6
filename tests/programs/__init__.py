"""Random programs that use the whole pool, run on a mock clock, and what must hold after each.

``language`` has the programs as plain data, ``generator`` draws them, ``interpreter`` runs their
statements (``items`` those of streams) against a real pool in a ``world`` that keeps the books,
``raising`` makes what they raise, ``running`` runs a whole program, ``checks`` says what is wrong
with what happened, and ``shrinker`` makes a program that fails small. ``python -m tests.programs``
goes on for as long as it is told to.
"""
