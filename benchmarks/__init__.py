"""What the pool costs, beside programs that do the same without it; and how that grows.

``python -m benchmarks`` measures it all and prints one table; ``--help`` lists the options.
``measure`` holds the arithmetic, ``rows`` the table's rows, ``catalogue`` all of them with
what is to be reached. What is run is in ``programs`` (the pool as its users write it),
``peers`` (the same without it), ``growth``, ``waiting``, ``backing_off``, ``queueing`` and
``imports``. All of these use the pool as everybody can, by its public interface.
"""
