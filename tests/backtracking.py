"""A matcher that counts its steps: what CPython's `re` does, done slowly.

It walks the tree that `re` itself parses a pattern into, tries the same alternatives in the same order, and counts one
step for each node it comes by. So steps grow with a text as the time of `re` grows, but for what `re` skips in bulk,
and unlike time they are the same on every machine. tests/test_backtracking.py compares what it finds with `re`.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from re import _compiler as sre_compiler
from re import _constants as sre
from re import _parser as sre_parser

Step = tuple  # an operation, then what it needs
Program = list[Step]
CHARACTERS = {sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY}
REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}


class TooManySteps(AssertionError):
    """It takes more steps than allowed."""


class Matcher:
    """One pattern, and the steps that it took so far."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        tree = sre_parser.parse(pattern.pattern, pattern.flags)
        if tree.getwidth()[0] == 0:
            raise NotImplementedError(f"{pattern.pattern!r} matches the empty text; `finditer` here knows no such")
        self._program: Program = []
        self._emit(self._program, tree, pattern.flags)
        self.steps, self.most = 0, 10**9

    def finditer(self, text: str, most: int = 10**9) -> Iterator[tuple[int, int]]:
        """Where the matches lie. TooManySteps when finding them all takes more than so many."""
        self.steps, self.most = 0, most
        start = 0
        while start <= len(text):
            end = self._run(self._program, text, start)
            if end is not None:
                yield start, end
            start = start + 1 if end is None else end

    def count(self, text: str, most: int = 10**9) -> int:
        """The steps that it takes to find all matches."""
        for _ in self.finditer(text, most):
            pass
        return self.steps

    def _run(
        self, program: Program, text: str, at: int, groups: dict[int, tuple[int, int]] | None = None
    ) -> int | None:
        """Where the first match ends that begins there; its groups are left in `groups`."""
        waiting = [(0, at, groups or {})]  # what to do when all else fails, the last first
        while waiting:
            step, at, found = waiting.pop()
            while step < len(program):
                self.steps += 1
                if self.steps > self.most:
                    raise TooManySteps(f"more than {self.most} steps")
                operation, *of = program[step]
                step += 1
                if operation == "split":
                    step, later = of
                    waiting.append((later, at, found))
                elif operation == "jump":
                    (step,) = of
                elif operation == "group":
                    number, first = of
                    found = found | {number: (at, at) if first else (found[number][0], at)}
                else:
                    moved = self._moved(operation, of, text, at, found)
                    if moved is None:
                        break
                    at, found = moved
            else:
                if groups is not None:
                    groups |= found
                return at
        return None

    def _moved(self, operation, of, text, at, found):
        """Where the text goes on and with which groups; None where it does not match."""
        if operation == "character":
            return (at + 1, found) if at < len(text) and of[0](text[at]) else None
        if operation == "at":
            return (at, found) if of[0](text, at) else None
        if operation == "again":
            start, end = found[of[0]]
            self.steps += end - start
            return (at + end - start, found) if text.startswith(text[start:end], at) else None
        if operation == "atomic":
            inside = dict(found)
            end = self._run(of[0], text, at, inside)
            return None if end is None else (end, inside)
        program, behind, wanted = of  # "look"
        inside = dict(found)
        matches = at >= behind and self._run(program, text, at - behind, inside) is not None
        return (at, inside if wanted else found) if matches == wanted else None

    def _emit(self, program: Program, tree: sre_parser.SubPattern, flags: int) -> None:
        """Add the steps of a tree."""
        for node in tree:
            operation, of = node
            if operation in CHARACTERS:
                program.append(("character", _fits(tree, node, flags)))
            elif operation is sre.AT:
                program.append(("at", _lies(tree, node, flags)))
            elif operation is sre.GROUPREF:
                program.append(("again", of))
            elif operation in REPEATS:
                self._emit_repeat(program, operation, *of, flags)
            elif operation is sre.BRANCH:
                self._emit_branches(program, of[1], flags)
            else:
                self._emit_group(program, operation, of, flags)

    def _emit_group(self, program: Program, operation, of, flags: int) -> None:
        """Add what stands in parentheses."""
        if operation is sre.SUBPATTERN:
            number, added, removed, inner = of
            program += [("group", number, True)] * (number is not None)
            self._emit(program, inner, (flags | added) & ~removed)
            program += [("group", number, False)] * (number is not None)
        elif operation is sre.ATOMIC_GROUP:
            program.append(("atomic", self._part(of, flags)))
        elif operation in {sre.ASSERT, sre.ASSERT_NOT}:
            direction, inner = of
            behind = inner.getwidth()[0] if direction < 0 else 0
            program.append(("look", self._part(inner, flags), behind, operation is sre.ASSERT))
        else:
            raise NotImplementedError(f"{operation} is not known here yet: add it")

    def _part(self, tree: sre_parser.SubPattern, flags: int) -> Program:
        part: Program = []
        self._emit(part, tree, flags)
        return part

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
        """So many times the same, then as many times as there may be more, each of which may be the last."""
        if operation is sre.POSSESSIVE_REPEAT:
            part: Program = []
            self._emit_repeat(part, sre.MAX_REPEAT, least, most, inner, flags)
            program.append(("atomic", part))
            return
        for _ in range(least):
            self._emit(program, inner, flags)
        forever = most is sre.MAXREPEAT
        if forever and inner.getwidth()[0] == 0:
            raise NotImplementedError("what is repeated may be empty, of which nothing is known here")
        splits = []
        for _ in range(1 if forever else most - least):
            splits.append(len(program))
            program.append(("split",))
            self._emit(program, inner, flags)
        if forever:
            program.append(("jump", splits[0]))
        for split in splits:
            ways = (split + 1, len(program))
            program[split] = ("split", *(ways if operation is sre.MAX_REPEAT else ways[::-1]))


def alphabet(pattern: re.Pattern[str]) -> list[str]:
    """Characters that the pattern tells apart."""
    found = set("a 0\n_-é。\U0001f989")

    def visit(tree) -> None:
        if isinstance(tree, sre_parser.SubPattern | list | tuple):
            if isinstance(tree, tuple) and len(tree) == 2 and tree[0] in {sre.LITERAL, sre.NOT_LITERAL}:
                found.add(chr(tree[1]))
            elif isinstance(tree, tuple) and len(tree) == 2 and tree[0] is sre.RANGE:
                found.update(map(chr, tree[1]))
            else:
                for each in tree:
                    visit(each)

    visit(sre_parser.parse(pattern.pattern, pattern.flags))
    return sorted(found)


def _alone(tree: sre_parser.SubPattern, node: tuple, flags: int) -> re.Pattern[str]:
    """The pattern of one node: what one character is, or where a position lies, `re` knows best."""
    return sre_compiler.compile(sre_parser.SubPattern(tree.state, [node]), flags)


def _fits(tree: sre_parser.SubPattern, node: tuple, flags: int) -> Callable[[str], bool]:
    alone = _alone(tree, node, flags)
    return lru_cache(None)(lambda character: alone.match(character) is not None)


def _lies(tree: sre_parser.SubPattern, node: tuple, flags: int) -> Callable[[str, int], bool]:
    alone = _alone(tree, node, flags)
    return lambda text, at: alone.match(text, at) is not None
