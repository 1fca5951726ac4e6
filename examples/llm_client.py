"""An HTTP/1.1 client over Trio's streams, as much of it as an API of language models needs.

A program of your own would take httpx. This is here to need nothing but Trio, and to be read in a minute.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class BrokenConnectionError(Exception):
    """The server has hung up, or sends what is no HTTP."""


class HttpClient:
    """Calls to one server with one key, over connections that are kept for later calls.

    Several calls may be under way at once, each over a connection of its own.
    """

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def post(self, path: str, body: object) -> AsyncGenerator[Response]:
        """Make a call; yields its response once the headers are there."""
        connection = self._idle.pop() if self._idle else Connection(await trio.open_tcp_stream("127.0.0.1", self._port))
        response: Response | None = None
        try:
            content = json.dumps(body).encode()
            head = f"POST {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(content)}\r\n\r\n"
            await connection.stream.send_all(head.encode() + content)
            response = await connection.receive_head()
            yield response
        except trio.BrokenResourceError as error:
            raise BrokenConnectionError("the server has hung up") from error
        finally:
            if response is not None and response.is_complete:
                self._idle.append(connection)
            else:  # cancelled or failed in the middle of an exchange
                await trio.aclose_forcefully(connection.stream)

    async def aclose(self) -> None:
        while self._idle:
            await trio.aclose_forcefully(self._idle.pop().stream)


@dataclass(eq=False)
class Connection:
    """One connection, and what has been received over it and not been read yet."""

    stream: trio.SocketStream
    _buffer: bytearray = field(default_factory=bytearray)

    async def receive_head(self) -> Response:
        """The status and the headers of a response."""
        _, status, *_ = (await self.receive_line()).split(" ")
        headers: dict[str, str] = {}
        while line := await self.receive_line():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return Response(int(status), headers, self)

    async def receive_line(self) -> str:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._receive_more()
        return self._take(end + 2)[:-2].decode("latin-1")

    async def receive_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._receive_more()
        return self._take(size)

    async def _receive_more(self) -> None:
        received = await self.stream.receive_some()
        if not received:
            raise BrokenConnectionError("the server has hung up")
        self._buffer += received

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


@dataclass(eq=False)
class Response:
    """A response whose body is still on its way.

    Attributes:
        headers: by their names in lower case.
        is_complete: whether the whole body has been received.
    """

    status: int
    headers: dict[str, str]
    _connection: Connection
    is_complete: bool = False

    async def read(self) -> bytes:
        """The rest of the body."""
        body = b""
        while not self.is_complete:
            body += await self._receive_piece()
        return body

    async def events(self) -> AsyncGenerator[str]:
        """The data of each server-sent event, as it comes."""
        received = b""
        while not self.is_complete:
            *events, received = (received + await self._receive_piece()).split(b"\n\n")
            for event in events:
                yield event.decode().removeprefix("data: ")

    async def _receive_piece(self) -> bytes:
        """One chunk, or a body that comes whole."""
        if self.headers.get("transfer-encoding") != "chunked":
            body = await self._connection.receive_exactly(int(self.headers.get("content-length", "0")))
            self.is_complete = True
            return body
        size = int(await self._connection.receive_line(), 16)
        piece = await self._connection.receive_exactly(size)
        await self._connection.receive_line()
        self.is_complete = size == 0
        return piece
