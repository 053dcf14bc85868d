"""Lists of pairs: tables and shards, their ids and the names of their outputs."""

import io
import tarfile
from pathlib import Path

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.fleet.pairs import open_pairs

pa = pytest.importorskip("pyarrow", reason="the extra fleet is not installed: pip install 'harmonyrt[fleet]'")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(text: str, name: str = "pairs.csv") -> str:
    Path(name).write_text(text)
    return name


def test_csv_and_parquet_say_the_same(folder):
    rows = {"composite": ["x/a.png", "b.tif"], "mask": ["x/a_m.png", "m.png"], "n": ["1", None]}
    pq.write_table(pa.table(rows), "pairs.parquet")
    table("composite,mask,n\nx/a.png,x/a_m.png,1\nb.tif,m.png,\n")
    found = [list(open_pairs([name]).rows()) for name in ("pairs.csv", "pairs.parquet")]
    assert found[0] == found[1]
    first = found[0][0]
    assert (first.id, first.output, first.composite.path) == ("a.png", "a.png", str(folder / "x" / "a.png"))
    assert [row.more["n"] for row in found[0]] == ["1", None]


def test_types_of_a_parquet_table_stay(folder):
    pq.write_table(
        pa.table({"composite": ["a.png"], "mask": ["m.png"], "price": [1.5], "tags": [["x", "y"]]}), "p.parquet"
    )
    (row,) = open_pairs(["p.parquet"]).rows()
    assert row.more == {"price": 1.5, "tags": ["x", "y"]}


def test_composites_of_one_name_get_outputs_of_their_own_wherever_they_stand():
    lines = ["a/p.png,m1.png", "b/p.png,m1.png", "b/p.png,m2.png", "c/q.png,m1.png"]
    names = []
    for order in (lines, lines[::-1]):
        found = {(row.composite.path, row.mask.path): row for row in
                 open_pairs([table("composite,mask\n" + "\n".join(order) + "\n")]).rows()}  # fmt: skip
        names.append({key: (row.output, row.id) for key, row in found.items()})
    assert names[0] == names[1]
    assert len(set(names[0].values())) == 4
    assert "q.png" in {output for output, _ in names[0].values()}


def test_outputs_have_a_format_that_can_be_written():
    pairs = [table("composite,mask\na.gif,m.png\nb.avif,m.png\nc.JPG,m.png\nd,m.png\n")]
    assert [row.output for row in open_pairs(pairs).rows()] == ["a.png", "b.png", "c.JPG", "d.png"]
    assert [row.output for row in open_pairs(pairs, ".webp").rows()] == ["a.webp", "b.webp", "c.webp", "d.webp"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("composite,mask\na.png,m.png\nb.png,m.png\na.png,m.png\n", r"the pair a\.png twice \(row 3\)"),
        ("id,composite,mask\n1,a.png,m.png\n1,b.png,m.png\n", "the id 1 twice"),
        ("picture,mask\na.png,m.png\n", "has the columns picture, mask; it needs composite and mask"),
        ("composite,mask\n", "has no rows"),
        ("", "is no table that can be read"),
        ("composite,mask\na.png\n", "is no table that can be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_before_anything_starts(text, sentence):
    with pytest.raises(HarmonyError, match=sentence):
        open_pairs([table(text)])


def test_a_parquet_file_that_is_none_is_refused():
    Path("pairs.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(HarmonyError, match="is no table that can be read"):
        open_pairs(["pairs.parquet"])


def shard(name, members):
    with tarfile.open(name, "w") as tar:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_shards_give_their_members_bytes(folder):
    for number in range(2):
        shard(f"part-{number:03}.tar", {
            "0001.composite.png": b"composite" + bytes([number]), "0001.mask.png": b"mask", "0001.json": b"{}",
            "0002.jpg": b"plain", "0002.mask.png": b"m2",
            "0003.cutout.png": b"cut", "0003.background.jpg": b"back",
            "0004.mask.png": b"alone",
        })  # fmt: skip
    for pattern in ("part-{000..001}.tar", "part-*.tar", str(folder / "part-*.tar")):
        pairs = open_pairs([pattern])
        rows = {row.id: row for row in pairs.rows()}
        assert pairs.count == len(rows) == 8
        assert rows["part-001/0001"].composite.read() == b"composite\x01"
        assert rows["part-000/0002"].composite.read() == b"plain"
        assert rows["part-000/0002"].mask.read() == b"m2"
        assert rows["part-000/0003"].background.read() == b"back"
        assert "has no member .composite" in rows["part-000/0004"].problem
        assert len({row.output for row in rows.values()}) == 8
        assert rows["part-000/0003"].output.endswith(".jpg")


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [("bad.tar", "is no tar file"), ("none-*.tar", "no file is named"), ("gone.tar", "not exist")],
)
def test_shards_that_cannot_be_read_are_refused(pattern, sentence):
    Path("bad.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(HarmonyError, match=sentence):
        open_pairs([pattern])
