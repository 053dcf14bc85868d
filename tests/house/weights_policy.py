"""Git keeps at most one new version of a weights file per release: ``python tests/house/weights_policy.py``.

Every version of a weights file stays in every clone for ever (20 MB each), so a release may add one, and training runs
commit none. The range that is looked at begins

* after the last tag ``v*`` that HEAD descends from; or, while there is none,
* after :data:`BEFORE_POLICY`, when this rule came (eleven versions lie before it, and stay); or
* in a shallow clone that holds neither, after its oldest commits, so that only what is there is counted.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEFORE_POLICY = "de80ab9b8071401bd04d9940411a5164fd63d7c2"
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
SHIPPED, TESTS = "weights/", "tests/"


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=True).stdout


def base(repository: Path, before_policy: str = BEFORE_POLICY) -> list[str]:
    """Commits after which the range begins; their own objects do not count."""
    tags = git(repository, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname").split()
    if tags:
        return tags[:1]
    known = subprocess.run(["git", "merge-base", "--is-ancestor", before_policy, "HEAD"], cwd=repository,
                           capture_output=True).returncode == 0  # fmt: skip
    return [before_policy] if known else git(repository, "rev-list", "--max-parents=0", "HEAD").split()


def offences(repository: Path, before_policy: str = BEFORE_POLICY) -> list[str]:
    """A sentence for each file that breaks the policy."""
    start = base(repository, before_policy)
    versions = defaultdict(set)
    for line in git(repository, "rev-list", "--objects", "HEAD", *(f"^{commit}" for commit in start)).splitlines():
        name, _, path = line.partition(" ")
        if path.endswith(SUFFIXES) and not path.startswith(TESTS):
            versions[path].add(name)
    since = ", ".join(start)
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
