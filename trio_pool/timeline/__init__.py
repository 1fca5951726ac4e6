"""What a pool's workers did and when, as a trace or as a page to look at. Nothing else in the package imports this."""

from .._basics.public_names import publish
from ._timeline import Timeline

__all__ = ["Timeline"]

publish(__name__, __all__)
