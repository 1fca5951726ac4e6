"""``python -m tests.package FOLDER`` builds the source distribution and the wheel into the folder, and checks both.

Each is built twice, the second time from the source distribution, and is the same to the byte. The source distribution
has all files of the repository, so the tests and the documentation too; the wheel has those of the package alone.

With a tag such as ``v1.2.3`` after the folder, that is the version, and the changelog has an entry for it with a date.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]


def build(source: Path, output: Path) -> dict[str, str]:
    """Build both, with the backend that is installed; the hash of each by its name."""
    # Output that goes nowhere is shown when the build fails.
    command = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", f"--outdir={output}", str(source)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(output.iterdir())}


def files_of_repository() -> set[str] | None:
    """What git has of this folder, or none if git doesn't know it, as in an unpacked source distribution."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
    return set(filter(None, listed.split("\0")))


def compare(what: str, found: set[str], expected: set[str]) -> list[str]:
    """What is wrong with the files in it."""
    missing, surplus = sorted(expected - found), sorted(found - expected)
    return [f"not in {what}: {name}" for name in missing] + [f"only in {what}: {name}" for name in surplus]


def check_tag(tag: str, built: Iterable[str]) -> list[str]:
    """What is wrong for a release of this tag."""
    version = tag.removeprefix("v")
    names = {f"trio_pool-{version}.tar.gz", f"trio_pool-{version}-py3-none-any.whl"}
    faults = compare(f"a release of {tag}", set(built), names)
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    if not re.search(rf"^{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        faults.append(f"no entry with a date in CHANGELOG.rst: {version}")
    return faults


def check(folder: Path, tags: list[str]) -> list[str]:
    """Build both into the folder; what is wrong with them."""
    built = build(ROOT, folder)
    for name, digest in built.items():
        print(f"sha256:{digest}  {name}")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
            in_sdist = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
        again = build(Path(scratch, sdist.name.removesuffix(".tar.gz")), Path(scratch, "again"))
    faults = [f"not the same when built again: {name}" for name, digest in built.items() if again.get(name) != digest]
    for tag in tags:
        faults += check_tag(tag, built)

    files = files_of_repository()
    if files is None:
        print("This is no repository of git, so what the source distribution should have is unknown.")
    else:
        faults += compare("the source distribution", in_sdist, files | {"PKG-INFO"})
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {name for name in in_sdist if name.startswith("trio_pool/")}
    return faults + compare("the wheel", in_wheel, package)


def main() -> None:
    """Fail with what is wrong, if anything is."""
    folder, tags = Path(sys.argv[1]), sys.argv[2:]
    shutil.rmtree(folder, ignore_errors=True)
    if faults := check(folder, tags):
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
