"""A PostgreSQL server for ``connections.py``, with a new database in a given folder.

It listens at a socket in this folder alone. It prints its port on the first line of its output, which is part of the
socket's name, and ends when its input does: a parent that holds the other end of that pipe can't leave it behind,
however the parent ends. The last line of its output is "stopped".

It needs PostgreSQL's programs. They refuse to run as root, so root runs them as another user, to whom the folder is
given.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

INSTALLED = Path("/usr/lib/postgresql")
PORT = 5432
USERS = ("postgres", "nobody")
"""As whom root runs the server: the first of these that there is."""
SETTINGS = "-c listen_addresses='' -c fsync=off -c full_page_writes=off"
"""No network, and no care for what a power cut would lose."""


def find_program(name: str) -> Path | None:
    """One of PostgreSQL's programs, on the path or where Debian puts those of each version."""
    if found := shutil.which(name):
        return Path(found)
    return max(INSTALLED.glob(f"*/bin/{name}"), key=lambda path: float(path.parents[1].name), default=None)


def choose_user() -> str | None:
    """The user that runs the server, or None for the present one."""
    import pwd  # not at the top, since there is none on Windows

    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(filter(known.__contains__, USERS), None)


def run_program(name: str, *args: str, user: str | None) -> None:
    """Run one of PostgreSQL's programs, and show what it prints only if it fails."""
    program = find_program(name)
    assert program is not None
    done = subprocess.run(
        [program, *args],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout}")


def crash_and_restart(folder: Path) -> None:
    """Have the server of a folder break off all it does, and recover: it takes connections again a moment later."""
    control_server(folder, "restart", "-m", "immediate")


def control_server(folder: Path, action: str, *options: str) -> None:
    """Start, stop or restart the server of a folder, and wait until that is done."""
    where = ("-D", str(folder / "data"), "-l", str(folder / "log"))
    run_program("pg_ctl", action, *where, "-w", *options, user=choose_user())


def make_database(folder: Path) -> None:
    """Make a new database in an empty folder."""
    user = choose_user()
    if user is not None:
        shutil.chown(folder, user)
    data = str(folder / "data")
    run_program("initdb", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", user=user)


def start_server(folder: Path) -> None:
    """Start the server of a folder."""
    control_server(folder, "start", "-o", f"-k '{folder}' -p {PORT} {SETTINGS}")


def stop_server(folder: Path) -> None:
    """Stop the server of a folder, whatever it does."""
    control_server(folder, "stop", "-m", "immediate")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a PostgreSQL server with a new database.")
    parser.add_argument("folder", type=Path, help="an empty folder for the database and the socket")
    folder: Path = parser.parse_args().folder.resolve()
    make_database(folder)
    start_server(folder)
    try:
        print(PORT, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.buffer.read()
    finally:
        stop_server(folder)
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
