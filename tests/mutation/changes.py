"""The small changes that are made to a module, one at a time: those of cosmic-ray, and some that it doesn't have.

Each of them should make a test fail. Those that no test can tell from the code as it is are left out, with the reason.
"""

# The types come from typings/: cosmic-ray is installed for its session alone.
# pyright: reportMissingModuleSource=false

from __future__ import annotations

import ast
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Position = tuple[int, int]

# Comparisons change at their bound and into their opposite. Not used: those into an unrelated one, which are caught
# wherever one of these is, and those between identity and equality, which are the same for enum members and None.
COMPARISONS = {
    "Lt": ("LtE", "GtE"),
    "LtE": ("Lt", "Gt"),
    "Gt": ("GtE", "LtE"),
    "GtE": ("Gt", "Lt"),
    "Eq": ("NotEq",),
    "NotEq": ("Eq",),
    "Is": ("IsNot",),
    "IsNot": ("Is",),
}
# Not used: those that put in an operator which the type doesn't have, so that any test whatever catches them.
CALCULATIONS = {
    "Add": ("Sub",),
    "Sub": ("Add",),
    "Mul": ("Div",),
    "Div": ("Mul",),
    "FloorDiv": ("Mul",),
    "Mod": ("Add",),
    "BitAnd": ("BitOr",),
    "BitOr": ("BitAnd",),
}
# Not used: RemoveDecorator, as each of the decorators here is read by type checkers alone or breaks all of its class
# when gone, and VariableInserter and VariableReplacer, which want names and put random numbers in.
OTHERS = (
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ZeroIterationForLoop",
)
OPERATORS = (
    *(f"ReplaceComparisonOperator_{old}_{new}" for old, several in COMPARISONS.items() for new in several),
    *(f"ReplaceBinaryOperator_{old}_{new}" for old, several in CALCULATIONS.items() for new in several),
    *OTHERS,
)

FOR_TYPES_ALONE = {"overload", "abstractmethod"}
"""The decorators of functions that never run."""

UNNOTICED = {
    # How much is kept at once, or how often there is a clean-up: one more or less is as good.
    "_LEAST_TO_COMPACT",
    "_GRAINS",
}
"""The constants whose exact value no caller can notice."""


class Mutant(NamedTuple):
    """A module with one change made to it."""

    path: Path
    position: Position
    change: str
    """What it is called; that of cosmic-ray has the name there."""
    source: Callable[[], str | None]
    """Makes it."""


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All of a module, but those that say nothing about tests."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    left_out = [(_start(node), _end(node)) for node in _left_out(tree)]
    for change, position, changed in (*_of_cosmic_ray(source, tree), *_of_our_own(source, tree)):
        if not any(start <= position < end for start, end in left_out):
            yield Mutant(path, position, change, changed)


def compiles(source: str) -> bool:
    """Whether it is Python: to be sure that a mutant is caught for what it does."""
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _of_cosmic_ray(source: str, tree: ast.Module) -> Iterator[tuple[str, Position, Callable[[], str | None]]]:
    nodes = [*ast_nodes(get_ast(source))]
    calculations = [(_start(node), _end(node)) for node in ast.walk(tree) if isinstance(node, ast.BinOp)]
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        positions = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, position in enumerate(positions):
            # A bare * or / among parameters is no calculation.
            if name.startswith("ReplaceBinary") and not any(start <= position < end for start, end in calculations):
                continue
            yield name, position, partial(mutate_code, source, operator, occurrence)


def _of_our_own(source: str, tree: ast.Module) -> Iterator[tuple[str, Position, Callable[[], str]]]:
    """Statements removed, what is returned replaced, and the operators that cosmic-ray doesn't look at."""
    lines = source.encode().splitlines(keepends=True)

    def replaced(start: Position, end: Position, new: str) -> str:
        before = b"".join(lines[: start[0] - 1]) + lines[start[0] - 1][: start[1]]
        after = lines[end[0] - 1][end[1] :] + b"".join(lines[end[0] :])
        return (before + new.encode() + after).decode()

    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and _is_removable(node):
            yield "RemoveStatement", _start(node), partial(replaced, _start(node), _end(node), "pass")
        match node:
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield "ReturnNone", _start(value), partial(replaced, _start(value), _end(value), "None")
            case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as operator], comparators=[right]):
                new = " not in " if isinstance(operator, ast.In) else " in "
                yield "ReplaceIn", _end(left), partial(replaced, _end(left), _start(right), new)
            case ast.AugAssign(target=target, op=ast.Add() | ast.Sub() as operator, value=value):
                new = " -= " if isinstance(operator, ast.Add) else " += "
                yield "ReplaceAugmented", _end(target), partial(replaced, _end(target), _start(value), new)
            case _:
                pass


def _is_removable(node: ast.stmt) -> bool:
    """Whether the module can run without: a name that is never given a value would be missed by any test."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Return():
            return True
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return True
        case ast.AnnAssign(target=ast.Attribute(), value=ast.expr()):
            return True
        case _:
            return False


def _left_out(tree: ast.Module) -> Iterator[ast.stmt | ast.expr]:
    """What is never run, or on other Pythons, or only to be read by others, and values that can't be noticed."""
    for node in ast.walk(tree):
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING") as test):
                yield test
                yield from node.body
            case ast.If(test=ast.Compare(left=ast.Attribute(ast.Name("sys"), "version_info")) as test):
                yield test
                yield from node.body
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if FOR_TYPES_ALONE & {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}:
                    yield node
                elif node.returns is not None:
                    yield node.returns
                # That it returns nothing goes without saying at its end.
                if isinstance(last := node.body[-1], ast.Return) and (last.value is None or _is_none(last.value)):
                    yield last
            case ast.arg(annotation=ast.expr() as annotation):
                yield annotation
            case ast.AnnAssign(annotation=ast.Name("TypeAlias")):
                yield node
            case ast.AnnAssign(annotation=annotation):
                yield annotation
            case ast.Assign(targets=[ast.Name(name)]) if name == "__slots__" or name in UNNOTICED:
                yield node
            case ast.Expr(value=ast.Constant(str())):
                yield node
            case _:
                pass


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _start(node: ast.stmt | ast.expr) -> Position:
    return node.lineno, node.col_offset


def _end(node: ast.stmt | ast.expr) -> Position:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset
