"""Faster versions of `json.dumps` and `json.loads` for the most frequent values: numbers and strings."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_decoder: Any = json.JSONDecoder()
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once


def dumps(value: Any) -> str:
    """Return what `json.dumps` returns."""
    if type(value) is int:
        return repr(value)
    if type(value) is str:
        return encode_basestring_ascii(value)
    return json.dumps(value)


def loads(text: Any) -> Any:
    """Return what `json.loads` returns."""
    if type(text) is str:
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            end = -1
            value = None
        if end == len(text):
            return value
    return json.loads(text)  # the text has space around it, or is not valid
