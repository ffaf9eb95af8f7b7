"""Small changes of the code, made by Cosmic Ray's operators and three of our own."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import parso.python.tree
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

# Those of Cosmic Ray's that change what is done. Left out: `|`, which stands in types here, `**`, which unpacks, and a
# comparison turned into every other one: seven of one place say no more than one that denies it and one at its edge.
FROM_COSMIC_RAY = (
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_Lt_GtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_LtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Gt_LtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_GtE_Lt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_Add",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_USub_UAdd",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "AddNot",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "RemoveDecorator",
    "ZeroIterationForLoop",
)
# Lines that tell readers and the type checker something and do nothing: changing them is no fault a test could see.
FOR_READERS = re.compile(r"@dataclass\b.*|@(typing\.)?override|if TYPE_CHECKING:|__all__ = .*|from __future__ .*")


class TurnSmallNumber:
    """Makes 0 and 1 one more, and one less, inside a function: bounds, places and counts.

    Larger numbers and constants are sizes and clocks that somebody chose: a test that repeats them says nothing.
    """

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where such a number stands: twice, once for each direction."""
        if node.type == "number" and node.value in ("0", "1") and parso.python.tree.search_ancestor(node, "funcdef"):
            yield from [(node.start_pos, node.end_pos)] * 2

    def mutate(self, node: Any, index: int) -> Any:
        """Count one further, or one back."""
        node.value = str(int(node.value) + (1, -1)[index])
        return node


class LeaveOutCall:
    """Replaces a statement that is only a call, awaited or not, by `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where such a statement stands."""
        if node.type == "simple_stmt" and self._is_call(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Leave the call out."""
        node.children[0] = parso.parse(node.children[0].get_first_leaf().prefix + "pass")
        return node

    @staticmethod
    def _is_call(statement: Any) -> bool:
        if statement.type not in ("atom_expr", "power"):
            return False
        last = statement.children[-1]
        return bool(last.type == "trailer" and last.children[0].value == "(")


class TurnMembership:
    """Replaces `in` by `not in` and the other way round, but not in `for … in`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where something is looked for in something."""
        for _, operator in self._operators(node):
            yield operator.start_pos, operator.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Say the opposite."""
        place, operator = list(self._operators(node))[index]
        node.children[place] = parso.parse(" not in" if operator.get_code().strip() == "in" else " in")
        return node

    @staticmethod
    def _operators(node: Any) -> Iterator[tuple[int, Any]]:
        if node.type == "comparison":
            for place, child in enumerate(node.children):
                if place % 2 and " ".join(child.get_code().split()) in ("in", "not in"):
                    yield place, child


def operators() -> dict[str, Any]:
    """Every operator, by its name."""
    theirs = {name: get_operator(f"core/{name}")() for name in FROM_COSMIC_RAY}
    return {**theirs, **{operator.__name__: operator() for operator in (LeaveOutCall, TurnMembership, TurnSmallNumber)}}


@dataclass(frozen=True)
class Change:
    """What a mutant does, told without line numbers: lines of one function, before and after."""

    file: str
    function: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutant:
    """One small change of one file."""

    root: Path
    file: str
    operator: str
    occurrence: int
    lines: tuple[int, int]
    function: str

    @cached_property
    def code(self) -> str:
        """The whole file after the change."""
        source = (self.root / self.file).read_text("utf-8")
        return str(mutate_code(source, operators()[self.operator], self.occurrence))

    @property
    def change(self) -> Change:
        """The lines that differ."""
        source = (self.root / self.file).read_text("utf-8")
        diff = list(difflib.ndiff(source.splitlines(), self.code.splitlines()))
        before = "\n".join(line[2:].strip() for line in diff if line.startswith("- ") and line.strip() != "-")
        after = "\n".join(line[2:].strip() for line in diff if line.startswith("+ ") and line.strip() != "+")
        return Change(self.file, self.function, before, after)

    def __str__(self) -> str:
        change = self.change
        shown = "\n".join([f"- {line}" for line in change.before.splitlines()])
        shown += "\n" + "\n".join(f"+ {line}" for line in change.after.splitlines() or ["(nothing)"])
        return f"{self.file}:{self.lines[0]} in {self.function or 'the module'} ({self.operator})\n{shown}"


def mutants_of(root: Path, file: str) -> list[Mutant]:
    """Every mutant of a file, in the order of its operators and lines."""
    source = (root / file).read_text("utf-8")
    lines = source.splitlines()
    nodes = list(ast_nodes(get_ast(source)))
    return [
        Mutant(root, file, name, occurrence, (start[0], end[0]), ASTQuery(node).get_definition_name() or "")
        for name, operator in operators().items()
        for occurrence, (node, start, end) in enumerate(_positions(operator, nodes))
        if not FOR_READERS.fullmatch(lines[start[0] - 1].strip())
    ]


def _positions(operator: Any, nodes: Sequence[Any]) -> Iterator[tuple[Any, Any, Any]]:
    for node in nodes:
        for start, end in operator.mutation_positions(node):
            yield node, start, end


def sample(mutants: Iterable[Mutant], number: int, seed: int) -> list[Mutant]:
    """As many of them as asked for, the same ones for the same seed."""
    everyone = sorted(mutants, key=lambda mutant: (mutant.file, mutant.operator, mutant.occurrence))
    if number >= len(everyone):
        return everyone
    return random.Random(seed).sample(everyone, number)
