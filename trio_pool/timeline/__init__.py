"""A recorder of what a pool's workers do, with output as a trace or a page. Nothing else in the package imports it."""

from .._basics.public_names import publish
from ._timeline import Timeline

__all__ = ["Timeline"]

publish(__name__, __all__)
