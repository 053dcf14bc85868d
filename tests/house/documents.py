"""Reads the repository's Markdown: fenced blocks with the marks before them, commands, links, and names of things.

Marks are HTML comments on the lines before a block:

* ``<!-- needs: a GPU -->``: the block is not run; its verbs and options are checked all the same.
* ``<!-- runs: slow -->``: it runs, but not in the fast lane.
* ``<!-- given: composite, mask -->``: names that a Python block takes for granted (test_documents.py makes them).
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("sh", "bash", "console")
MARK = re.compile(r"<!--\s*(needs|runs|given):\s*(.*?)\s*-->")
FENCE = re.compile(r"^(\s*)(```+)\s*([\w+-]*)\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: the file, relative to the repository.
        line: of its opening fence, from 1.
        language: after the fence; "" where there is none.
        text: without the fences and their indentation.
        marks: of the comments before it, by name.
    """

    document: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.document}:{self.line}"

    def script(self) -> str:
        """The commands of a shell block; of a console block those after a prompt."""
        if self.language != "console":
            return self.text
        lines, continued = [], False
        for line in self.text.splitlines():
            if line.startswith("$ ") or continued:
                lines.append(line.removeprefix("$ "))
                continued = line.endswith("\\")
        return "\n".join(lines)


def documents() -> list[Path]:
    """Every committed Markdown file that people read, without the folder of golden cases and generated tables."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
                            cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    found = [ROOT / name for name in listed.stdout.splitlines()]
    return sorted(path for path in found if path.is_file() and "golden" not in path.parts)


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found: list[Block] = []
    marks: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if not opening:
            marks |= dict(MARK.findall(lines[number]))
            if lines[number].strip() and not MARK.search(lines[number]):
                marks = {}
            number += 1
            continue
        indent, fence, language = opening.groups()
        end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == fence)
        text = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end])
        found.append(Block(str(path.relative_to(ROOT)), number + 1, language, text, marks))
        number, marks = end + 1, {}
    return found


def commands(script: str) -> Iterator[list[str]]:
    """The words of each command of a script, without comments, assignments, loops and what pipes go into."""
    for line in re.sub(r"\\\n\s*", " ", script).splitlines():
        for part in re.split(r"\s(?:\||&&|;)\s", f" {line} "):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue
            while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
                words = [*shlex.split(words[0].partition("=")[2]), *words[1:]] if " " in words[0] else words[1:]
            words = [word for word in words if word not in ("do", "done", "then", "time", "sudo")]
            if words:
                yield words


def inline_commands(text: str) -> Iterator[list[str]]:
    """Commands in backticks within prose: those that begin like one and hold more than a name."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for code in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose):
        if re.match(r"(harmonyrt|make|python) \S", code):
            yield from commands(" ".join(code.split()).replace("…", ""))
