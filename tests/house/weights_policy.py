"""Git keeps at most one new version of a weights file per release: ``python tests/house/weights_policy.py``.

Every version of a weights file stays in every clone for ever (20 MB each), so a release may add one, and training runs
commit none. The range that is looked at begins with the commit that gave ``pyproject.toml`` its present version (tags
do not travel with every clone, so they are not asked); where no commit did, as in a shallow clone, after the oldest
commits, so that only what is there is counted.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
SHIPPED, TESTS = "weights/", "tests/"


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=True).stdout


def base(repository: Path) -> list[str]:
    """Commits after which the range begins; their own objects do not count."""
    version = ("log", "-1", "--format=%P", "-G", "^version = ", "HEAD", "--", "pyproject.toml")
    before_version = git(repository, *version).split()
    return before_version or git(repository, "rev-list", "--max-parents=0", "HEAD").split()


def offences(repository: Path) -> list[str]:
    """A sentence for each file that breaks the policy."""
    start = base(repository)
    versions = defaultdict(set)
    for line in git(repository, "rev-list", "--objects", "HEAD", *(f"^{commit}" for commit in start)).splitlines():
        name, _, path = line.partition(" ")
        if path.endswith(SUFFIXES) and not path.startswith(TESTS):
            versions[path].add(name)
    since = ", ".join(commit[:12] for commit in start)
    return [
        f"{path} has {len(found)} new versions since {since}; squash the commits so that one is left"
        if path.startswith(SHIPPED)
        else f"{path} is a weights file outside {SHIPPED}, added since {since}; remove it from the commits"
        for path, found in sorted(versions.items())
        if len(found) > 1 or not path.startswith(SHIPPED)
    ]


if __name__ == "__main__":
    found = offences(ROOT)
    print("\n".join(found) or "weights policy: fine")
    sys.exit(bool(found))
