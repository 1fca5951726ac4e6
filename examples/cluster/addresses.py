"""Where the parts of the fleet find each other, as the command line says it."""

from __future__ import annotations

import argparse
import socket
import sys
from urllib.parse import urlsplit


def broker_url(text: str) -> str:
    """The address of Redis or Valkey, for ``argparse``."""
    return checked(text, ("redis", "rediss"), "redis://127.0.0.1:6379")


def api_url(text: str) -> str:
    """The address of the server that has the files, for ``argparse``."""
    return checked(text, ("http", "https"), "http://127.0.0.1:8000")


def checked(text: str, schemes: tuple[str, ...], example: str) -> str:
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, for one
        is_one = False
    if not is_one:
        raise argparse.ArgumentTypeError(f"must be a URL such as {example}, not {text!r}")
    return text


def expect_broker(url: str) -> None:
    """End the program with a word about it if there is no broker; the engine would bury that in tracebacks."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or 6379), timeout=5.0).close()
    except OSError as error:
        sys.exit(f"There is no broker at {url}: {error}")
