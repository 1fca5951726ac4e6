"""A live view of a pool in a terminal, drawn with rich: ``pip install "trio-pool[rich]"``."""

from .._basics.public_names import publish
from ._view import live

__all__ = ["live"]

publish(__name__, __all__)
