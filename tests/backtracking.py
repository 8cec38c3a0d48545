"""A backtracking regex matcher that counts its steps: a slow model of CPython's `re`.

It interprets the parse tree of `re`, tries the same alternatives in the same order, and counts one step per node. So
the number of steps grows with the text as the time of `re` does, except where `re` skips in bulk, and it is the same
on every machine. tests/test_backtracking.py compares its matches with those of `re`.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from re import _compiler as sre_compiler
from re import _constants as sre
from re import _parser as sre_parser

Step = tuple  # an operation and its operands
Program = list[Step]
CHARACTERS = {sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY}
REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}


class TooManySteps(AssertionError):
    """Matching takes more steps than allowed."""


class Matcher:
    """A matcher for one pattern, with a step counter."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        tree = sre_parser.parse(pattern.pattern, pattern.flags)
        if tree.getwidth()[0] == 0:
            raise NotImplementedError(f"{pattern.pattern!r} can match the empty text, which is not supported")
        self._program: Program = []
        self._emit(self._program, tree, pattern.flags)
        self.steps, self.most = 0, 10**9

    def finditer(self, text: str, most: int = 10**9) -> Iterator[tuple[int, int]]:
        """The spans of the matches. TooManySteps if finding all takes more than `most` steps."""
        self.steps, self.most = 0, most
        start = 0
        while start <= len(text):
            end = self._run(self._program, text, start)
            if end is not None:
                yield start, end
            start = start + 1 if end is None else end

    def count(self, text: str, most: int = 10**9) -> int:
        """The number of steps to find all matches."""
        for _ in self.finditer(text, most):
            pass
        return self.steps

    def _run(
        self, program: Program, text: str, at: int, groups: dict[int, tuple[int, int]] | None = None
    ) -> int | None:
        """The end of the first match that starts at `at`, or None; its groups are added to `groups`."""
        alternatives = [(0, at, groups or {})]  # a stack of states to backtrack to
        while alternatives:
            step, at, captured = alternatives.pop()
            while step < len(program):
                self.steps += 1
                if self.steps > self.most:
                    raise TooManySteps(f"more than {self.most} steps")
                operation, *operands = program[step]
                step += 1
                if operation == "split":
                    step, alternative = operands
                    alternatives.append((alternative, at, captured))
                elif operation == "jump":
                    (step,) = operands
                elif operation == "group":
                    number, first = operands
                    captured = captured | {number: (at, at) if first else (captured[number][0], at)}
                else:
                    advanced = self._advance(operation, operands, text, at, captured)
                    if advanced is None:
                        break
                    at, captured = advanced
            else:
                if groups is not None:
                    groups |= captured
                return at
        return None

    def _advance(self, operation, operands, text, at, captured):
        """Execute one operation; the new position and groups, or None if it does not match."""
        if operation == "character":
            return (at + 1, captured) if at < len(text) and operands[0](text[at]) else None
        if operation == "at":
            return (at, captured) if operands[0](text, at) else None
        if operation == "again":
            start, end = captured[operands[0]]
            self.steps += end - start
            return (at + end - start, captured) if text.startswith(text[start:end], at) else None
        if operation == "atomic":
            inner = dict(captured)
            end = self._run(operands[0], text, at, inner)
            return None if end is None else (end, inner)
        program, behind, positive = operands  # "look"
        inner = dict(captured)
        matches = at >= behind and self._run(program, text, at - behind, inner) is not None
        return (at, inner if positive else captured) if matches == positive else None

    def _emit(self, program: Program, tree: sre_parser.SubPattern, flags: int) -> None:
        """Append the steps of a parse tree."""
        for node in tree:
            operation, operand = node
            if operation in CHARACTERS:
                program.append(("character", _character_test(tree, node, flags)))
            elif operation is sre.AT:
                program.append(("at", _position_test(tree, node, flags)))
            elif operation is sre.GROUPREF:
                program.append(("again", operand))
            elif operation in REPEATS:
                self._emit_repeat(program, operation, *operand, flags)
            elif operation is sre.BRANCH:
                self._emit_branches(program, operand[1], flags)
            else:
                self._emit_group(program, operation, operand, flags)

    def _emit_group(self, program: Program, operation, operand, flags: int) -> None:
        """Append a group, an atomic group or a look-around."""
        if operation is sre.SUBPATTERN:
            number, added, removed, inner = operand
            program += [("group", number, True)] * (number is not None)
            self._emit(program, inner, (flags | added) & ~removed)
            program += [("group", number, False)] * (number is not None)
        elif operation is sre.ATOMIC_GROUP:
            program.append(("atomic", self._subprogram(operand, flags)))
        elif operation in {sre.ASSERT, sre.ASSERT_NOT}:
            direction, inner = operand
            behind = inner.getwidth()[0] if direction < 0 else 0
            program.append(("look", self._subprogram(inner, flags), behind, operation is sre.ASSERT))
        else:
            raise NotImplementedError(f"{operation} is not supported yet: add it")

    def _subprogram(self, tree: sre_parser.SubPattern, flags: int) -> Program:
        program: Program = []
        self._emit(program, tree, flags)
        return program

    def _emit_branches(self, program: Program, branches: list, flags: int) -> None:
        ends = []
        for branch in branches[:-1]:
            split = len(program)
            program.append(("split",))
            self._emit(program, branch, flags)
            ends.append(len(program))
            program.append(("jump",))
            program[split] = ("split", split + 1, len(program))
        self._emit(program, branches[-1], flags)
        for end in ends:
            program[end] = ("jump", len(program))

    def _emit_repeat(self, program: Program, operation, least: int, most: int, inner, flags: int) -> None:
        """Append a repeat: `least` mandatory copies, then optional ones up to `most`."""
        if operation is sre.POSSESSIVE_REPEAT:
            part: Program = []
            self._emit_repeat(part, sre.MAX_REPEAT, least, most, inner, flags)
            program.append(("atomic", part))
            return
        for _ in range(least):
            self._emit(program, inner, flags)
        forever = most is sre.MAXREPEAT
        if forever and inner.getwidth()[0] == 0:
            raise NotImplementedError("a repeat of a possibly empty pattern is not supported")
        splits = []
        for _ in range(1 if forever else most - least):
            splits.append(len(program))
            program.append(("split",))
            self._emit(program, inner, flags)
        if forever:
            program.append(("jump", splits[0]))
        for split in splits:
            targets = (split + 1, len(program))
            program[split] = ("split", *(targets if operation is sre.MAX_REPEAT else targets[::-1]))


def alphabet(pattern: re.Pattern[str]) -> list[str]:
    """Characters that the pattern distinguishes, and some others."""
    characters = set("a 0\n_-é。\U0001f989")

    def visit(tree) -> None:
        if isinstance(tree, sre_parser.SubPattern | list | tuple):
            if isinstance(tree, tuple) and len(tree) == 2 and tree[0] in {sre.LITERAL, sre.NOT_LITERAL}:
                characters.add(chr(tree[1]))
            elif isinstance(tree, tuple) and len(tree) == 2 and tree[0] is sre.RANGE:
                characters.update(map(chr, tree[1]))
            else:
                for node in tree:
                    visit(node)

    visit(sre_parser.parse(pattern.pattern, pattern.flags))
    return sorted(characters)


def _node_pattern(tree: sre_parser.SubPattern, node: tuple, flags: int) -> re.Pattern[str]:
    """The compiled pattern of one node: `re` itself tests characters and positions."""
    return sre_compiler.compile(sre_parser.SubPattern(tree.state, [node]), flags)


def _character_test(tree: sre_parser.SubPattern, node: tuple, flags: int) -> Callable[[str], bool]:
    pattern = _node_pattern(tree, node, flags)
    return lru_cache(None)(lambda character: pattern.match(character) is not None)


def _position_test(tree: sre_parser.SubPattern, node: tuple, flags: int) -> Callable[[str, int], bool]:
    pattern = _node_pattern(tree, node, flags)
    return lambda text, at: pattern.match(text, at) is not None
