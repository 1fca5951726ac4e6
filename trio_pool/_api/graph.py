"""Graphs of jobs: their nodes, and the check that they can be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._basics.error_text import MOST_OF_ERROR
from .._basics.text import own_text, said, shown
from .._model.errors import GraphError
from .._policies import validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

    from typing_extensions import Unpack

    from .._model.job_options import NodeOptions

K = TypeVar("K")

_MOST_OF_CYCLE = 20  # how many keys of a cycle the message names


class Node:
    """One job of a graph, for ``submit_graph``.

    Arguments:
      fn: an async function; in a pool with resources its first argument is the resource.
      *args: its other arguments.
      after: the keys of the nodes that must have succeeded before this node starts. With
          ``reverse=True``, the keys of the nodes that start after this one.
      **options: options of the job, as for ``submit``. The job's name is the node's key by default.

    Raises:
      TypeError: if ``after`` is not an iterable of keys.
    """

    __slots__ = ("after", "args", "fn", "options")

    def __init__(
        self,
        fn: Callable[..., Awaitable[Any]],
        *args: Any,
        after: Iterable[Hashable] = (),
        **options: Unpack[NodeOptions],
    ) -> None:
        if isinstance(after, (str, bytes)):
            raise TypeError(f"after must be an iterable of keys, not the single {shown(after)}")
        self.fn: Callable[..., Awaitable[Any]] = fn
        self.args: tuple[Any, ...] = args
        try:
            self.after: tuple[Hashable, ...] = tuple(after)
        except TypeError:
            raise TypeError(f"after must be an iterable of keys, {validate.got(after)}") from None
        self.options: NodeOptions = options

    def __repr__(self) -> str:
        parts = [own_text(self.fn, "__qualname__") or shown(self.fn), *map(shown, self.args)]
        if self.after:
            parts.append(f"after={shown(list(self.after))}")
        parts += [f"{option}={shown(value)}" for option, value in self.options.items()]
        return f"Node({', '.join(parts)})"


def in_order(nodes: Mapping[K, Node], *, reverse: bool) -> dict[K, list[K]]:
    """Map each key to the keys that must come before it, in an order in which the jobs can run.

    Raises:
      GraphError: if a key is unknown, an edge is given twice, or there is a cycle.
      TypeError: if ``nodes`` isn't a mapping of nodes.
    """
    # Imported here, since few programs need it.
    from graphlib import CycleError, TopologicalSorter

    validate.instance("reverse", reverse, bool)
    if not isinstance(cast("object", nodes), Mapping):
        raise TypeError(f"a graph must be a mapping of keys to Nodes, {validate.got(nodes)}")
    before: dict[K, list[K]] = {key: [] for key in nodes}
    for key, node in nodes.items():
        if not isinstance(cast("object", node), Node):
            raise TypeError(f"a graph must be a mapping of keys to Nodes, {validate.got(node)} for {shown(key)}")
        seen: set[object] = set()
        for other in node.after:
            if other not in nodes:
                raise GraphError(f"{shown(key)} is after {shown(other)}, which is not in the graph")
            if other in seen:
                raise GraphError(f"{shown(key)} is after {shown(other)} twice")
            seen.add(other)
            if reverse:
                before[cast("K", other)].append(key)
            else:
                before[key].append(cast("K", other))
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        cycle: list[object] = error.args[1]
        keys = [shown(key) for key in cycle[:_MOST_OF_CYCLE]] + ["…"] * (len(cycle) > _MOST_OF_CYCLE)
        raise GraphError(f"the graph has a cycle: {' -> '.join(keys)}") from None
    return {key: before[key] for key in order}


def about_node(key: object, error: Exception) -> Exception:
    """Return an error of the same type whose message also names the node."""
    return type(error)(f"{said(error, MOST_OF_ERROR)} (the node {shown(key)})")
