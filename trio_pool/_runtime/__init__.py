"""The runtime: carries out the core's decisions in Trio."""
