"""What is done to this project besides writing it. ``nox -s check`` does all of it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import nox
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["check"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PYPROJECT)


WHICH = """
import sys, sysconfig
kind = "pypy" if sys.implementation.name == "pypy" else ""
print(kind + "{}.{}".format(*sys.version_info), end="t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
"""
"""Prints which Python runs it: 3.13, say, or 3.14t, which does without the global lock, or pypy3.11."""


@functools.cache
def which_python(command: str) -> str:
    """Which Python this command is. It need not run: it can be a stub of a version manager."""
    if (python := shutil.which(command)) is None:
        return ""
    return subprocess.run([python, "-c", WHICH], capture_output=True, text=True, check=False).stdout


def is_installed(version: str) -> bool:
    """Whether there is such a Python that runs; on Windows that is the one which runs nox."""
    command = version if version.startswith("pypy") else f"python{version}"
    return version in (which_python(sys.executable), which_python(command))


INSTALLED = [version for version in SUPPORTED if is_installed(version)]
MISSING = [version for version in SUPPORTED if version not in INSTALLED]
OTHERS = [version for version in ("3.14t", "pypy3.11") if is_installed(version)]
"""CPython without its global lock, and PyPy: tested where they are installed."""

if not INSTALLED + OTHERS:
    sys.exit(f"None of the supported Pythons is installed: {', '.join(SUPPORTED)}")
OLDEST, NEWEST = (INSTALLED or OTHERS)[0], (INSTALLED or OTHERS)[-1]

FULL = f"tests-{NEWEST}"
"""The session that runs the tests at full strength, and measures what they cover. On the other Pythons those
that run something very often, such as each of hypothesis, do a tenth of it; see tests/effort.py."""

LEFT_OUT = [
    "--ignore-glob=*/project/test_*benchmark*.py",
    "--ignore-glob=*/project/test_*example*.py",
    "--ignore-glob=*/project/test_docs_recipes.py",
    "--ignore=tests/journal_proof",
    "--ignore=tests/core",
    "--ignore=docs/planning.rst",
    "--ignore-glob=*/test_flat_*.py",
    "--ignore=tests/journal/test_memory.py",
]
"""Left out on all Pythons but the newest: tests of programs around the package, of what computes without Trio, which
the tests of the pool run too, and of what something costs as there is more of it."""


def group(*names: str) -> tuple[str, ...]:
    """The requirements of these dependency groups."""
    return nox.project.dependency_groups(PYPROJECT, *names)


def lowest() -> list[str]:
    """The run-time dependencies and those of the extras, each at its lower bound."""
    project = PYPROJECT["project"]
    lines = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    requirements = [Requirement(line) for line in lines]
    for requirement in requirements:
        requirement.specifier = SpecifierSet(str(requirement.specifier).replace(">=", "=="))
    return [str(requirement) for requirement in requirements]


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Check the style, the format, that each async function is a checkpoint, and what runs on GitHub."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check", "--diff")
    checkpoints = "ASYNC910,ASYNC911"
    session.run("flake8", "--isolated", f"--select={checkpoints}", f"--enable={checkpoints}", "trio_pool")
    session.run("actionlint", *map(str, Path().glob(".github/workflows/*.yml")))
    session.run("zizmor", "--quiet", "--offline", "--pedantic", "--strict-collection", ".github")
    session.run("pre-commit", "validate-config")
    forms = {"issue-forms": "ISSUE_TEMPLATE/*_*.yml", "issue-config": "ISSUE_TEMPLATE/config.yml"}
    schemas = [(f"github-{name}", f".github/{files}") for name, files in forms.items()]
    for schema, files in [*schemas, ("dependabot", ".github/dependabot.yml"), ("readthedocs", ".readthedocs.yaml")]:
        session.run("check-jsonschema", f"--builtin-schema=vendor.{schema}", *map(str, Path().glob(files)))


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """Check the types, as the oldest and the newest supported Python see them."""
    session.install("-e", ".", *group("types"))
    for version in (SUPPORTED[0], SUPPORTED[-1]):
        session.run("mypy", f"--python-version={version}")
        # Named, because it would rather take a pyrightconfig.json from a folder above.
        session.run("pyright", "--project=pyproject.toml", f"--pythonversion={version}")
    session.run("pyright", "--verifytypes", "trio_pool", "--ignoreexternal")


@nox.session(python=NEWEST)
def package(session: nox.Session) -> None:
    """Build the source distribution and the wheel into ``dist``, check them, and then ``installed``.

    With a tag such as ``v1.2.3`` after ``--``, it fails if that is not the version.
    """
    session.install(*group("package"))
    session.run("validate-pyproject", "pyproject.toml", env={"VALIDATE_PYPROJECT_NO_NETWORK": "1"})
    session.run("python", "-m", "tests.package", "dist", *session.posargs)
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.run("check-wheel-contents", "dist")
    for version in dict.fromkeys([OLDEST, NEWEST]):
        session.notify(f"installed-{version}")


@nox.session(python=list(dict.fromkeys([OLDEST, NEWEST])), reuse_venv=False, default=False)
def installed(session: nox.Session) -> None:
    """Install the wheel in ``dist`` with nothing else, and use it; after ``package``."""
    session.install(*map(str, Path("dist").glob("*.whl")))
    session.run("python", "-I", "tests/package/alone.py")


@nox.session(python=NEWEST)
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    if tuple(map(int, NEWEST.split("."))) < (3, 12):
        session.warn("Sphinx is meant to run on Python 3.12 or later here, which is not installed.")
    session.log(f"Building with Python {NEWEST}")
    session.install(".", *group("docs"))
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=NEWEST)
def browser(session: nox.Session) -> None:
    """Run the tests that look at pages, in the Chromium or Chrome that is installed."""
    session.install(".", *group("browser"))
    session.run("pytest", *(session.posargs or ["tests/browser"]))


@nox.session(python=NEWEST)
def cluster(session: nox.Session) -> None:
    """Run the tests of fleets of workers, against brokers and with processes that are killed."""
    session.install(".", *group("cluster"))
    # They mostly wait, for brokers that are away and processes that are gone.
    session.run("pytest", *(session.posargs or ["-n4", "--dist=worksteal", "tests/cluster"]))


@nox.session(python=NEWEST)
def demo(session: nox.Session) -> None:
    """Run the main example; it takes the arguments after ``--``."""
    session.install(".", *group("demo"))
    # After Ctrl-C it still prints what was done.
    session.run("python", "examples/api_tokens.py", *session.posargs, interrupt_timeout=10)


@nox.session(python=NEWEST)
def batch(session: nox.Session) -> None:
    """Run the example of a batch against a language model; it takes the arguments after ``--``."""
    session.install(".", *group("demo"))
    session.run("python", "examples/llm_batch.py", *session.posargs, interrupt_timeout=10)


@nox.session(python=NEWEST)
def connections(session: nox.Session) -> None:
    """Run the example of database connections over PostgreSQL and over SQLite; it takes the arguments after ``--``.

    Where there is no PostgreSQL, it says so and uses SQLite twice.
    """
    session.install(".", *group("connections"))
    program = ["python", "examples/connections.py", *session.posargs]
    session.run(*program, interrupt_timeout=10)
    if "--sqlite" not in session.posargs:
        session.run(*program, "--sqlite", interrupt_timeout=10)


@nox.session(python=NEWEST)
def fair_crawler(session: nox.Session) -> None:
    """Run the example that crawls many hosts; it takes the arguments after ``--``."""
    session.install(".", *group("demo"))
    session.run("python", "examples/fair_crawler.py", *session.posargs, interrupt_timeout=10)


@nox.session(python=INSTALLED)
def measure(session: nox.Session) -> None:
    """Measure what the pool costs beside other programs; it takes the arguments after ``--``."""
    session.install("-e", ".", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=NEWEST)
def bench(session: nox.Session) -> None:
    """Run ``measure`` on each supported Python that is installed, and join the tables; it takes the same arguments."""
    session.install("-e", ".", *group("bench"))
    folders = [f"benchmarks/results/{version}" for version in INSTALLED]
    for version, folder in zip(INSTALLED, folders, strict=True):
        Path(folder, "benchmarks.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "nox", "--session", f"measure-{version}", "--", f"--output={folder}"]
        # What one Python misses is in the table of all of them, which fails.
        session.run(*command, *session.posargs, external=True, success_codes=[0, 1])
    # The documentation shows the figures of a whole run.
    output = "benchmarks/results" if session.posargs else "docs/performance"
    session.run("python", "-m", "benchmarks", f"--output={output}", "--join", *folders)


@nox.session(python=NEWEST, default=False)
def bench_llm(session: nox.Session) -> None:
    """Answer prompts by the pool and by other libraries, and write the table into the documentation."""
    session.install("-e", ".", *group("llm"))
    session.env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network for the prices of models
    arguments = session.posargs or ["--output=docs/performance/llm.txt"]
    session.run("python", "-m", "benchmarks.llm", *arguments)


@nox.session(python=NEWEST, default=False)
def fuzz(session: nox.Session) -> None:
    """Run random programs for some minutes, and then the state machines of the core, drawing something else each time.

    The arguments after ``--`` are for the programs, or for the machines after ``-- machines``.
    """
    session.install("-e", ".", *group("tests"))
    if session.posargs[:1] != ["machines"]:
        session.run("python", "-m", "tests.programs", *(session.posargs or ["--minutes=10", "--processes=2"]))
    if session.posargs[:1] in ([], ["machines"]):
        session.run("python", "-m", "tests.core", *(session.posargs[1:] or ["--minutes=10"]))


@nox.session(python=NEWEST, default=False)
def mutation(session: nox.Session) -> None:
    """Try whether tests notice small changes; the arguments after ``--`` are those of ``python -m tests.mutation``."""
    session.install("-e", ".", *group("mutation"))
    session.run("python", "-m", "tests.mutation", *session.posargs)


@nox.session(python=NEWEST, default=False)
def kill(session: nox.Session) -> None:
    """Kill programs at random moments, which must go on from their journals; it takes the arguments after ``--``."""
    session.install("-e", ".", *group("tests"))
    session.run("python", "-m", "tests.journal_proof", *session.posargs)


@nox.session(python=OLDEST)
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest supported dependencies, on the package as users get it."""
    session.install(".", *lowest(), *group("tests"))
    run_tests(session)


@nox.session(python=INSTALLED + OTHERS)
def tests(session: nox.Session) -> None:
    """Run the tests with the newest dependencies."""
    session.install("-e", ".", *group("tests"))
    run_tests(session)


def run_tests(session: nox.Session) -> None:
    """Run all tests, unless pytest is told otherwise after ``--``; on the newest Python they cover 100 per cent."""
    if sys.platform == "win32":
        session.env["PYTHONUTF8"] = "1"  # as Python 3.15 has it everywhere
    # The lives of the core's machines are the same in each run only with the same hashes.
    effort = {"HYPOTHESIS_PROFILE": "full" if session.name == FULL else "light", "PYTHONHASHSEED": "1"}
    if session.posargs:
        session.run("pytest", *session.posargs)
    elif session.name == FULL:
        session.run("coverage", "run", "-m", "pytest", env=effort)
        session.run("coverage", "report")
    else:
        session.run("pytest", *LEFT_OUT, env=effort)


@nox.session(venv_backend="none")
def check(session: nox.Session) -> None:
    """Do all of this, on each supported Python that is installed, one session at a time for each core, and one more."""
    session.log(f"Tested on Python {', '.join(INSTALLED + OTHERS)}")
    if MISSING:
        session.warn(f"Not installed, so not tested: Python {', '.join(MISSING)}")
    # Those that take longest come first, so that none is left to run alone in the end.
    in_turn = [FULL, "minimums", "types", "cluster", "browser", f"measure-{NEWEST} -- --quick"]
    # The oldest Python is tested with the lowest dependencies alone.
    in_turn += [name for name in map("tests-{}".format, INSTALLED[1:] + OTHERS) if name != FULL]
    in_turn += ["docs", "demo -- --files 40", "batch -- --prompts 40", "connections -- --requests 100"]
    in_turn += ["fair_crawler -- --hosts 4 --pages 8", "package", "lint"]
    # One more than there are cores, as some sessions wait most of the time.
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as threads:
        failed = [name for name, ok in zip(in_turn, threads.map(run_apart, in_turn), strict=True) if not ok]
    if failed:
        session.error(f"Failed: {', '.join(failed)}")


def run_apart(session: str) -> bool:
    """Run a session in a nox of its own, and print what it printed when it is done; whether it passed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "nox", "--session", *session.split()]
    # The longest has a processor to itself, so that the others end with it; and brokers are to answer in time.
    if session not in (FULL, "cluster") and (nice := shutil.which("nice")) is not None:
        command = [nice, *command]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    result = "failed" if done.returncode else "passed"
    head = f"===== {session}: {result} after {time.monotonic() - began:.0f} s =====\n"
    sys.stdout.buffer.write(head.encode() + done.stdout)
    sys.stdout.flush()
    return done.returncode == 0
