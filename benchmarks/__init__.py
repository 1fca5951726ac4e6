"""What the pool costs, beside programs that do the same without it; and how that grows.

``python -m benchmarks`` measures it all and prints one table; ``--help`` lists the options.
``measure`` holds the arithmetic, ``rows`` the table's rows, ``catalogue`` all of them with
what is to be reached, and ``joined`` makes one table of those of several Pythons. What is run
is in ``programs`` (the pool as its users write it), ``peers`` (the same without it), and in the
modules that ``catalogue`` imports besides. All of these use the pool as everybody can, by its
public interface.
"""
