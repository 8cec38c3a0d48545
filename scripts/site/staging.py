"""Stage the site's sources: docs/, the other pages of the repository, and every file that a page links to.

Pages link to each other and to code as GitHub needs it. Here what is in docs/ becomes the top of the site, everything
else goes below `repository/`, and links follow. Code that is linked to becomes a page that shows it.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOTEBOOKS = DOCS / "notebooks"
OTHERS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "examples/README.md",
    "helm/quantum-rerank/README.md",
)
_LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s]+)(?=\))")
_FENCE = re.compile(r"^( *```)", re.MULTILINE)
_FENCE_LINE = re.compile(r"( *`{3,}\w*).*")
_AS_IT_IS = {".svg", ".png", ".webp", ".json", ".html"}  # what browsers show; other files become pages
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".mjs": "javascript", ".sh": "sh"}


def stage(folder: Path) -> None:
    """Write the sources of the site into an empty folder; OSError if a page links to nothing, which tests/docs find."""
    waiting = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in OTHERS)]
    staged: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in staged or file.parent == NOTEBOOKS:  # whose pages need them to run
            continue
        staged.add(file)
        at = folder / place(file)
        at.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            waiting += file.glob("*.md")
            at.write_text(_listed(file), encoding="utf-8")
        elif file.suffix == ".md":
            text, targets = rewritten(file, file.read_text(encoding="utf-8"))
            waiting += targets
            at.write_text(in_python_markdown(text), encoding="utf-8")
        elif file.suffix in _AS_IT_IS:
            shutil.copyfile(file, at)
        else:
            at.write_text(_shown(file), encoding="utf-8")


def place(file: Path) -> Path:
    """Where a file of the repository is in the site's sources."""
    if file.is_relative_to(DOCS):
        kept = file.relative_to(DOCS)
    else:
        kept = Path("repository", *(part.lstrip(".") for part in file.relative_to(ROOT).parts))
    if file.is_dir():
        return kept / "index.md"
    if file.parent == NOTEBOOKS:
        return kept.with_suffix(".md")
    if file.suffix == ".md" and kept.name == "README.md" and kept.parent != Path():
        return kept.with_name("index.md")
    return kept if file.suffix in {".md", *_AS_IT_IS} else kept.with_name(kept.name + ".md")


def rewritten(page: Path, text: str) -> tuple[str, list[Path]]:
    """The text of a page with links as the site has its files, and the files that it links to outside of code."""
    here, files = place(page).parent, list[Path]()

    def moved(match: re.Match[str]) -> str:
        path, mark, anchor = match["target"].partition("#")
        if not path or urlsplit(path).scheme:
            return match["target"]
        files.append(_file(page, path))
        return Path(os.path.relpath(place(files[-1]), here)).as_posix() + mark + anchor

    parts = _FENCE.split(text)  # the marks of fences among them
    parts[::4] = [_LINK.sub(moved, part) for part in parts[::4]]
    return "".join(parts), files


def in_python_markdown(text: str) -> str:
    """A page of GitHub's Markdown as Python-Markdown reads it.

    It wants four spaces before what belongs to an item of a list, not two or three, and one word after a fence's marks.
    """
    lines, within = [], -1  # the indentation of the fence that the line is within; -1: none
    for line in text.split("\n"):
        base = within if within >= 0 else len(line) - len(line.lstrip(" "))
        kept = line
        if fence := _FENCE_LINE.fullmatch(line):
            kept, within = (fence[1], base) if within < 0 else (line, -1)
        lines.append(" " * (4 - base) + kept if base in {2, 3} and line.strip() else kept)
    return "\n".join(lines)


def _file(page: Path, path: str) -> Path:
    file = Path(os.path.normpath(page.parent / path))
    return file / "README.md" if (file / "README.md").is_file() else file


def _listed(folder: Path) -> str:
    """A page that lists a folder."""
    here = place(folder).parent
    rows = [
        f"- [{file.stem}]({os.path.relpath(place(file), here)})" if file.suffix == ".md" else f"- `{file.name}`"
        for file in sorted(folder.iterdir())
        if not file.name.startswith(("_", "."))
    ]
    return "\n".join([f"# {folder.name}", "", *rows, ""])


def _shown(file: Path) -> str:
    """A page that shows a file."""
    text = file.read_text(encoding="utf-8")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"# {file.relative_to(ROOT)}\n\n{fence}{_LANGUAGES.get(file.suffix, '')}\n{text.rstrip()}\n{fence}\n"
