"""The settings of Sphinx for this documentation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sphinx.pycode import ModuleAnalyzer

from trio_pool import __version__

if TYPE_CHECKING:
    from docutils.nodes import Element, TextElement
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "trio_pool"
author = "the trio_pool contributors"
project_copyright = "2026, the trio_pool contributors"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio"]
exclude_patterns = ["_build"]
default_role = "py:obj"
highlight_language = "python"

autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as one list

nitpicky = True
nitpick_ignore_regex = [
    # Names of other projects: to resolve them would take inventories from the network.
    (r"py:.*", r"(asyncio|trio|collections|concurrent|contextlib|contextvars|enum|random)\..+"),
    # The same, imported for type checkers only, so that autodoc knows no more than the short name.
    (r"py:class", r"(Async)?(Iterable|Iterator|Generator)|AbstractAsyncContextManager|Awaitable|Callable"),
    (r"py:class", r"Context|Hashable|Mapping|Random|Sequence"),
    # Type variables have no entry of their own.
    (r"py:class", r"(trio_pool\.(\w+\.)*)?[A-Z][a-z]?(_co|_contra)?"),
]

html_theme = "furo"
html_title = f"trio_pool {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]


def resolve_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: TextElement
) -> Element | None:
    """Link a name to where users import it from, if autodoc calls it by the private module that defines it."""
    public = re.sub(r"^trio_pool\._\w+\.", "trio_pool.", node["reftarget"])
    if node.get("refdomain") != "py" or public == node["reftarget"]:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], public, node, contnode)


def show_public_names(*event: Any) -> None:
    """Call a name what users call it, if napoleon has put in the private module that defines it."""
    lines: list[str] = event[-1]
    lines[:] = [re.sub(r"\btrio_pool\._\w+\.", "trio_pool.", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    # The reference gives one signature that says all, instead of the three for type checkers.
    analyzer = ModuleAnalyzer.for_module("trio_pool._open")
    analyzer.analyze()
    analyzer.overloads.clear()
    # A TypedDict has no bases when the program runs, but all their keys.
    analyzer = ModuleAnalyzer.for_module("trio_pool._options")
    analyzer.analyze()
    for (owner, key), lines in list(analyzer.attr_docs.items()):
        if owner == "NodeOptions":
            analyzer.attr_docs["JobOptions", key] = lines
            analyzer.tagorder[f"JobOptions.{key}"] = analyzer.tagorder[f"{owner}.{key}"]
    app.connect("missing-reference", resolve_public_name)
    app.connect("autodoc-process-docstring", show_public_names, priority=900)  # after napoleon
