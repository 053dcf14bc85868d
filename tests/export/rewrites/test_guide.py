"""docs/building.md and CONTRIBUTING.md are right about rewrites."""

import re
from pathlib import Path

from harmonyrt.export.rewrites import REWRITES

ROOT = Path(__file__).resolve().parents[3]


def test_the_table_lists_every_rewrite():
    section = (ROOT / "docs" / "building.md").read_text(encoding="utf-8").split("\n## Rewrites\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == set(REWRITES)


def test_the_example_of_a_pass_is_right(prove):
    """The code that CONTRIBUTING.md shows computes what it says."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.search(r"^   ```python\n(.*?)^   ```$", text, re.DOTALL | re.MULTILINE)[1]
    names: dict = {}
    exec("\n".join(line[3:] for line in shown.splitlines()), names)
    proof = prove("g (float[1,3,8,9] x) => (float[1,3,8,9] y) { y = HardSwish(x) }", {}, names["apply"])
    assert (proof.places, proof.operators) == (1, {"Add": 1, "Clip": 1, "Mul": 2})
    assert proof.difference < 1e-5
    near = "g (float[1,3,8,9] x) => (float[1,3,8,9] y) { s = Sigmoid(x) y = Mul(x, s) }"
    assert prove(near, {}, names["apply"]).places == 0
