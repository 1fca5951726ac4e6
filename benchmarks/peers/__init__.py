"""The programs that the pool is held against, one a module, each as its users write it.

Each has ``run(fn, items, workers)``: it calls ``fn`` with every item, at most ``workers`` at
once, and returns the results.
"""
