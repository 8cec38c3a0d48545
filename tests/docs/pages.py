"""The project's pages, parsed as GitHub parses them."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

from tests.paths import ROOT

_PARSER = MarkdownIt("commonmark").enable("table")
_GLOBS = ("*.md", ".github/*.md", "docs/**/*.md", "examples/*.md", "helm/*/*.md", "requirements/*.md")


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """Its path from the root."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def _tokens(self):
        found = []
        for token in _PARSER.parse(self.text):
            found += [token, *(token.children or ())]
        return found

    @cached_property
    def links(self):
        """Where links and images lead, in their order."""
        targets = [token.attrGet("href") or token.attrGet("src") for token in self._tokens]
        return [target for target in targets if target]

    @cached_property
    def anchors(self):
        """The anchors that GitHub makes of the headings."""
        seen, anchors = Counter(), set()
        for heading, inline in pairwise(self._tokens):
            if heading.type == "heading_open":
                words = "".join(child.content for child in inline.children)
                slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
                anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return anchors

    @cached_property
    def fences(self):
        """Fenced code blocks: (language, number of the line above the code, text)."""
        fences = [token for token in self._tokens if token.type == "fence"]
        return [(fence.info.partition(" ")[0], fence.map[0] + 1, fence.content) for fence in fences]

    @property
    def blocks(self):
        """Fenced code blocks: (language, text)."""
        return [(language, text) for language, _, text in self.fences]

    @cached_property
    def spans(self):
        """Code in backticks, in their order."""
        return [token.content for token in self._tokens if token.type == "code_inline"]

    @cached_property
    def tables(self):
        """Each table as a list of rows, the header first; a row is a list of cells as they are written."""
        tables = []
        for before, token in pairwise(self._tokens):
            if token.type == "table_open":
                tables.append([])
            elif token.type == "tr_open":
                tables[-1].append([])
            elif before.type in {"th_open", "td_open"}:
                tables[-1][-1].append(token.content)
        return tables


PAGES = [Page(path) for glob in _GLOBS for path in sorted(ROOT.glob(glob))]
BY_NAME = {page.name: page for page in PAGES}
