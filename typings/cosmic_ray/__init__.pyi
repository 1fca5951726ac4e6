# The types of cosmic_ray, which says none itself: of what the session "mutation" uses of it.
