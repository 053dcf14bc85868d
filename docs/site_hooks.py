"""What mkdocs does not do by itself: pages from outside docs/, their links, and the rooms as one package for the API.

The Markdown files are written for GitHub, where they lie in several folders. Here each gets a place on the site, and
links between them are turned to those places; a link to a file that has no page becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [path.parent.name for path in sorted(ROOT.glob("*/__init__.py"))]

OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "weights/README.md": "weights.md",
    "benchmarks/results/README.md": "measurements.md",
    "examples/CREDITS.md": "credits.md",
}
"""Path in the repository -> page."""

REFERENCE = {
    "runtime": ("Runtime", "harmonyrt.runtime", "harmonyrt.common"),
    "bundles": ("Backends and bundles", "harmonyrt.runtime.manifest", "harmonyrt.runtime.backends"),
    "models": ("Networks", "harmonyrt.models"),
    "building": ("Building", "harmonyrt.export.targets", "harmonyrt.export.precision", "harmonyrt.export.rewrites"),
    "evaluation": (
        *("Evaluation", "harmonyrt.evaluation.metrics", "harmonyrt.evaluation.protocol"),
        *("harmonyrt.evaluation.runs", "harmonyrt.evaluation.measure"),
    ),
    "video": ("Clips", "harmonyrt.video"),
    "training": ("Training", "harmonyrt.training.config"),
}
"""Page -> its title and the modules whose public names it lists."""
SHOWN_ELSEWHERE = {"harmonyrt.runtime": ("HarmonyError", "WorkFailed")}
"""Names that a module passes on, and whose documentation stands with the module that they come from."""

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`~?([^`]+)`")
"""Cross-references as docstrings write them; the site shows the name."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


@event_priority(100)  # before mkdocstrings, which looks for the package's folder once and leaves out a missing one
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give every page of docs/ a place among the guides, and the API reference its package."""
    listed = str(config["nav"])
    guides = next(entry["Guides"] for entry in config["nav"] if "Guides" in entry)
    guides += [{_title(page): page.name} for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in listed]
    _copy_modules()
    return config


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def _copy_modules() -> None:
    """Copy the rooms' modules to build/docs/harmonyrt, where the API reference finds them; it follows no links."""
    package = ROOT / "build" / "docs" / "harmonyrt"
    shutil.rmtree(package, ignore_errors=True)
    for room in ROOMS:
        for module in (ROOT / room).rglob("*.py"):
            place = package / module.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(ROLE.sub(r"`\1`", module.read_text(encoding="utf-8")), encoding="utf-8")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and those of the API reference."""
    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for page, (title, *modules) in REFERENCE.items():
        parts = [f"# {title}\n", *(_listed(module) for module in modules)]
        files.append(File.generated(config, f"reference/{page}.md", content="\n".join(parts)))
    files.append(File.generated(config, "reference/c.md", content=_header_page()))
    return files


def _listed(module: str) -> str:
    hidden = SHOWN_ELSEWHERE.get(module, ())
    filters = "".join(f', "!^{name}$"' for name in hidden)
    return f'::: {module}\n    options:\n      filters: ["!^_"{filters}]\n'


def _header_page() -> str:
    folder = ROOT / "runtime" / "cpp" / "include"
    parts = ["# C and C++\n", "The headers document themselves; [embedding](../embedding.md) shows how to use them.\n"]
    for header in sorted(folder.glob("*.h*")):
        language = "c" if header.suffix == ".h" else "cpp"
        parts.append(f"## {header.name}\n\n```{language}\n{header.read_text(encoding='utf-8')}\n```\n")
    return "\n".join(parts)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    places = {page: name for name, page in OUTSIDE.items()}
    here = page.file.src_uri
    if here.startswith("reference/"):
        return markdown
    folder = posixpath.dirname(places.get(here, f"docs/{here}"))

    def turned(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        name = posixpath.normpath(posixpath.join(folder, target))
        place = OUTSIDE.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
        if place is not None:
            return f"{image}[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"
        return text if (ROOT / name).exists() else match[0]  # what is missing stays, and is reported

    return "\n".join(_outside_code(markdown, turned))


def _outside_code(markdown: str, turned) -> list[str]:
    lines, fenced = [], False
    for line in markdown.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(line if fenced else LINK.sub(turned, line))
    return lines
