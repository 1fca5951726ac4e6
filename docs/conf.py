"""The settings of Sphinx for this documentation."""

from __future__ import annotations

from pkgutil import walk_packages
from typing import TYPE_CHECKING

from sphinx import addnodes
from sphinx.pycode import ModuleAnalyzer

import trio_pool
from trio_pool import __version__

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

project = "trio_pool"
author = "the trio_pool contributors"
project_copyright = "2026, the trio_pool contributors"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinxcontrib_trio"]
exclude_patterns = ["_build"]
default_role = "py:obj"
highlight_language = "python"

autodoc_member_order = "bysource"
autosummary_generate = False  # its tables are enough, as the pages are written by hand
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as one list
# The groups of the options of open_pool.
napoleon_custom_sections = [
    (name, "params_style")
    for name in ("Failures and time", "Queue and order", "Limits", "Resources", "Watching", "Repeating a run")
]

nitpicky = True
nitpick_ignore_regex = [
    # Names of other projects: to resolve them would take inventories from the network.
    (r"py:.*", r"(asyncio|trio|collections|concurrent|contextlib|contextvars|enum|random)\..+"),
    # The same, imported for type checkers only, so that autodoc knows no more than the short name.
    (r"py:class", r"(Async)?(Iterable|Iterator|Generator)|AbstractAsyncContextManager|Awaitable|Callable"),
    (r"py:class", r"Context|Hashable|Mapping|Path|Random|Sequence"),
    # One limit or several: what it means is said where it stands.
    (r"py:class", r"RateLimits"),
    # Type variables have no entry of their own.
    (r"py:class", r"(trio_pool\.(\w+\.)*)?[A-Z][a-z]?(_co|_contra)?"),
]

html_theme = "furo"
html_title = f"trio_pool {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]


def find_docs_of_attributes() -> None:
    """Let Sphinx find what stands below attributes in the modules that define them: classes name the public one."""
    public = ModuleAnalyzer.for_module("trio_pool")
    public.analyze()
    for module in walk_packages(trio_pool.__path__, "trio_pool."):
        if module.name.startswith("trio_pool._"):
            private = ModuleAnalyzer.for_module(module.name)
            private.analyze()
            public.attr_docs.update(private.attr_docs)
            public.tagorder.update(private.tagorder)
    # A TypedDict has no bases when the program runs, but all their keys.
    for (owner, key), lines in list(public.attr_docs.items()):
        if owner == "NodeOptions":
            public.attr_docs["JobOptions", key] = lines
            public.tagorder[f"JobOptions.{key}"] = public.tagorder[f"{owner}.{key}"]


def link_options(_: Sphinx, document: nodes.document) -> None:
    """Make ``**options`` in each signature a link to the options that it stands for."""
    for parameter in document.findall(addnodes.desc_parameter):
        if parameter.astext() == "**options":
            signature = parameter.parent.parent
            of_stream = signature["fullname"].rpartition(".")[2] in ("map", "as_completed")
            link = addnodes.pending_xref(
                "",
                *parameter.children,
                refdomain="py",
                reftype="class",
                reftarget="trio_pool.StreamOptions" if of_stream else "trio_pool.JobOptions",
                refwarn=True,
            )
            parameter.children = []
            parameter += link


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    find_docs_of_attributes()
    app.connect("doctree-read", link_options)
