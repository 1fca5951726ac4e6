"""What the build backend runs: the README gets absolute addresses, since the package index has no files beside it."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Readme(MetadataHookInterface):
    """Fills in the field ``readme`` of the project."""

    def update(self, metadata: dict[str, object]) -> None:
        """Hatchling calls this with the table ``project`` of pyproject.toml."""
        text = Path(self.root, "README.rst").read_text(encoding="utf-8")
        urls = metadata.get("urls")
        if isinstance(urls, dict) and "Source" in urls:
            text = with_absolute_addresses(text, urls["Source"])
        metadata["readme"] = {"content-type": "text/x-rst", "text": text}


def with_absolute_addresses(text: str, source: str) -> str:
    """Turn the pictures and links that name files of the repository into addresses in it."""
    text = re.sub(r"^(\.\. image:: )(?!\w+:)", rf"\1{source}/raw/HEAD/", text, flags=re.MULTILINE)
    return re.sub(r"(`[^`<]*<)(?!\w+:)(?=[^`>]*>`__)", rf"\1{source}/blob/HEAD/", text)
