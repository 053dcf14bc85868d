"""Results in parts, bundles by hash, memory by megapixels."""

import contextlib
import hashlib
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.fleet import bundles, results
from harmonyrt.fleet.budget import SLOTS, Budget
from harmonyrt.fleet.bundles import bundle_source
from harmonyrt.fleet.outcomes import FAILED, Result
from harmonyrt.fleet.results import Earlier, Results, parts, read_results
from harmonyrt.fleet.rows import fingerprint


def done(name: str, **changes) -> Result:
    digest = hashlib.sha256(name.encode()).hexdigest()
    values = {"composite_sha256": digest, "mask_sha256": digest, "output": f"{name}.png", "output_sha256": digest}
    return Result(name, **{**values, "bundle_sha256": "b", "settings_sha256": "s", **changes})


def test_parts_are_written_by_number_and_by_age(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROWS", 3)
    with Results(str(tmp_path), ()) as written:
        for n in range(7):
            written.add(done(str(n)))
        assert len(parts(str(tmp_path))) == 2
    assert len(parts(str(tmp_path))) == 3
    now = [1000.0]
    monkeypatch.setattr(results, "time", SimpleNamespace(**{**vars(time), "monotonic": lambda: now[0]}))
    with Results(str(tmp_path), ()) as written:
        written.add(done("7"))
        assert len(parts(str(tmp_path))) == 3
        now[0] += results.SECONDS + 1
        written.add(done("8"))
        assert len(parts(str(tmp_path))) == 4
    assert [row["id"] for row in read_results(str(tmp_path))] == [str(n) for n in range(9)]


def test_results_are_written_when_the_work_is_interrupted(tmp_path):
    def interrupted():
        with Results(str(tmp_path), ()) as written:
            written.add(done("a"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [row["id"] for row in read_results(str(tmp_path))] == ["a"]


def test_only_what_counts_is_known_and_kept(tmp_path):
    out = str(tmp_path)
    with Results(out, ("sku",)) as written:
        for result in (done("a", more={"sku": "1"}), done("b", status=FAILED), done("c", bundle_sha256="other")):
            written.add(result)
    with Results(out, ()) as written:
        written.add(done("d", settings_sha256="other"))
    earlier = Earlier(out, "b", "s")
    assert len(earlier) == 1
    digest = hashlib.sha256(b"a").hexdigest()
    assert earlier.of("a") == (fingerprint(digest, digest, "", "", "a.png"), bytes.fromhex(digest))
    assert earlier.of("b") is earlier.of("c") is earlier.of("nobody") is None
    assert [(row["id"], row["sku"]) for row in read_results(out)] == [("a", "1")], "the others are to be done again"


def test_a_row_goes_before_its_successor_comes(tmp_path, monkeypatch):
    """At any moment a pair has at most one row, whenever the driver dies."""
    out = str(tmp_path)
    with Results(out, ()) as written:
        for name in "abc":
            written.add(done(name))
    earlier, most = Earlier(out, "b", "s"), []
    whole = results.stores.write

    def write(path, data):
        whole(path, data)
        ids = [row["id"] for row in read_results(out)]
        most.append(max(ids.count(name) for name in ids))

    monkeypatch.setattr(results.stores, "write", write)
    with Results(out, (), earlier) as written:
        written.add(done("b", sentence="again"))
    assert most == [1, 1]
    assert sorted((row["id"], row["sentence"]) for row in read_results(out)) == [("a", ""), ("b", "again"), ("c", "")]


def test_of_two_rows_the_newest_counts(tmp_path):
    """As two drivers at once may have left them."""
    out = str(tmp_path)
    for sentence in ("first", "second"):
        with Results(out, ()) as written:
            written.add(done("a", sentence=sentence))
    Earlier(out, "b", "s")
    assert [row["sentence"] for row in read_results(out)] == ["second"]


def test_a_damaged_part_is_named(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "part-x.parquet").write_bytes(b"no parquet")
    with pytest.raises(HarmonyError, match=r"part-x\.parquet is damaged"):
        Earlier(str(tmp_path), "b", "s")


@pytest.fixture
def unseen(bundle, tmp_path):
    """A source whose folder other machines do not see, and how often each file was asked for."""
    asked = []

    def content(name):
        asked.append(name)
        return (bundle / name).read_bytes()

    folder = tmp_path / "engine"
    shutil.copytree(bundle, folder)
    source = bundle_source(str(folder)).with_content(content)
    shutil.rmtree(folder)
    return source, asked


def test_a_bundle_is_fetched_once_whoever_asks(unseen, bundle):
    source, asked = unseen
    found = []
    threads = [threading.Thread(target=lambda: found.append(source.local())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert found[0].name == source.sha256 == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert sorted(asked) == sorted(set(asked)), "each file once"
    assert {p.name: p.read_bytes() for p in found[0].iterdir()} == {n: (bundle / n).read_bytes() for n in asked}


def test_a_bundle_that_was_altered_is_not_kept(unseen):
    source, _ = unseen
    altered = source.with_content(lambda name: b"another network")
    with pytest.raises(HarmonyError, match="was altered"):
        altered.local()
    home = Path(bundles._home())
    assert not [path for path in home.iterdir() if path.is_dir()]


def test_the_cache_of_bundles_is_bounded(unseen, monkeypatch):
    source, _ = unseen
    old = bundles._home() / "an-older-one"
    old.mkdir()
    (old / "model.onnx").write_bytes(b"x" * 1000)
    monkeypatch.setattr(bundles, "MOST_BYTES", 500)
    assert source.local().is_dir()
    assert not old.exists()


def test_workers_of_a_machine_hold_no_more_than_the_budget(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    lock, held, most, waited = threading.Lock(), 0.0, 0.0, []
    together = threading.Barrier(5, timeout=60)

    @contextlib.contextmanager
    def waiting():
        started = time.monotonic()
        yield
        waited.append(time.monotonic() - started)

    def work(megapixels):
        nonlocal held, most
        budget = Budget("run", 10.0)  # one in each worker
        together.wait()
        for _ in range(5):
            with budget.held(megapixels, waiting):
                with lock:
                    held += megapixels
                    most = max(most, held)
                time.sleep(0.01)
                with lock:
                    held -= megapixels

    threads = [threading.Thread(target=work, args=(size,)) for size in (4.0, 4.0, 4.0, 1.0, 9.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4.0 < most <= 10.0
    assert max(waited) > 0.005
    with Budget("run", 10.0).held(400.0, waiting):  # larger than all of it: alone, but not for ever
        assert SLOTS
