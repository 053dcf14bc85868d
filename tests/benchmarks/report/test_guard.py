"""The guard builds what a floor names, measures it and says whether it holds. No assertion is on a time."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from harmonyrt.benchmarks.compare import Budget
from harmonyrt.benchmarks.report import guard
from harmonyrt.benchmarks.report.guard import Floor, floors, folder_of, main
from harmonyrt.export.phnet import to_onnx
from harmonyrt.export.rewrites import names_of
from harmonyrt.runtime.machine import machine_name


def test_committed_floors_name_what_can_be_built():
    for machine in json.loads(guard.FLOORS.read_text()):
        measured_on, found = floors(machine)
        assert measured_on == machine
        for floor in found:
            assert floor.at_least > 1
            assert floor.size % 8 == 0
            assert floor.target in ("onnx", "openvino")
            assert names_of(floor.rewrites) or floor.rewrites == ("none",)


def test_a_machine_without_floors_is_held_to_the_first_ones(tmp_path):
    row = {"size": 64, "threads": 1, "target": "onnx", "backend": "onnxruntime", "precision": "fp32", "at_least": 2.0}
    path = tmp_path / "guard.json"
    path.write_text(json.dumps({"one": [{"name": "a", **row}], "two": [{"name": "b", **row}]}))
    assert [
        (where, [f.name for f in found]) for where, found in (floors(m, path) for m in ("one", "two", "three"))
    ] == [("one", ["a"]), ("two", ["b"]), ("one", ["a"])]


@pytest.fixture
def a_floor(tmp_path, monkeypatch, tiny_checkpoint, tiny_trace):
    """main() with one floor of 2x for the tiny network, at 64 px; answers of the measuring are made up."""
    monkeypatch.setattr(to_onnx, "trace", lambda network: tiny_trace())
    row = {"name": "tiny", "size": 64, "threads": 1, "target": "onnx", "backend": "onnxruntime", "precision": "fp32"}
    path = tmp_path / "guard.json"
    path.write_text(json.dumps({"a CPU": [{**row, "at_least": 2.0}]}))

    def run(ratio: float, *arguments: str) -> int:
        def check(wanted, bundles: Path, checkpoint: Path, budget):
            (floor,) = wanted
            assert (folder_of(floor, bundles) / "phnet-64-fp32" / "manifest.json").is_file()
            yield floor, ratio

        monkeypatch.setattr(guard, "check", check)
        return main(["--checkpoint", str(tiny_checkpoint), "--floors", str(path), *arguments])

    return run


def test_a_floor_that_this_cpu_cannot_have_is_skipped(tmp_path, monkeypatch, capsys, tiny_checkpoint):
    row = {"size": 64, "threads": 1, "target": "onnx", "backend": "onnxruntime", "precision": "fp32", "at_least": 2.0}
    path = tmp_path / "guard.json"
    path.write_text(json.dumps({machine_name(): [{"name": "tiny", **row, "needs": ["a unit of tomorrow"]}]}))
    monkeypatch.setattr(guard, "build_all", lambda wanted, *rest: len(wanted))
    assert main(["--checkpoint", str(tiny_checkpoint), "--floors", str(path)]) == 0
    assert capsys.readouterr().out == "skipped tiny: this CPU has no a unit of tomorrow\n"


def test_another_machine_is_held_to_fp32_alone(tmp_path):
    row = {"size": 64, "threads": 1, "target": "openvino", "backend": "openvino", "at_least": 2.0}
    path = tmp_path / "guard.json"
    path.write_text(json.dumps({"one": [{"name": p, **row, "precision": p} for p in ("fp32", "bf16", "int8")]}))
    assert [floor.name for floor in floors("one", path)[1]] == ["fp32", "bf16", "int8"]
    assert [floor.name for floor in floors("two", path)[1]] == ["fp32"]


def test_a_floor_that_does_not_hold_fails(a_floor, capsys):
    assert a_floor(1.5) == 1
    said = capsys.readouterr()
    assert said.out == "FAILED tiny: 1.50x, floor 2.00x\n"
    assert "these are of a CPU" in said.err


def test_a_quick_run_proves_nothing_and_so_passes(a_floor, capsys, monkeypatch):
    def build(arguments):
        place = Path(arguments[arguments.index("--output") + 1], "phnet-64-fp32")
        place.mkdir(parents=True)
        (place / "manifest.json").write_text("{}")
        print("a table that is no result of the guard's")
        return 0

    monkeypatch.setattr("harmonyrt.export.build_engines.main", build)
    assert a_floor(1.5, "--quick") == 0
    assert capsys.readouterr().out == "FAILED tiny: 1.50x, floor 2.00x\n"


def test_engines_are_measured_beside_pytorch(bundle, tmp_path, tiny_checkpoint):
    floor = Floor("32 px", 32, 1, "onnx", "onnxruntime", "fp32", at_least=1, against="torch")
    _place(floor, tmp_path, bundle)
    quick = Budget(rounds=1, seconds=0, least=1, burn_in_seconds=0)
    ((measured, ratio),) = guard.check([floor], tmp_path, tiny_checkpoint, quick)
    assert measured is floor
    assert ratio > 0


def test_an_engine_no_faster_than_the_plain_one_is_found_out(bundle, tmp_path, tiny_checkpoint, monkeypatch):
    """Both are the same here, as when a rewrite no longer matches."""
    floor = Floor("32 px", 32, 1, "onnx", "onnxruntime", "fp32", at_least=1.3)
    for one in (floor, guard.plain(floor)):
        _place(one, tmp_path, bundle)
    sides = []

    def measure(cases, budget):
        sides.extend(case.path for case in cases)
        return [SimpleNamespace(samples=((4.0, 5.0, 6.0), (5.0,))) for _ in cases]

    monkeypatch.setattr(guard, "measure", measure)
    ((_, ratio),) = guard.check([floor], tmp_path, tiny_checkpoint, Budget())
    assert ratio == 1.0 < floor.at_least
    assert [Path(side).parent.name for side in sides] == ["onnx-none", "onnx-fast"]


def _place(floor, folder, bundle):
    place = folder_of(floor, folder) / "phnet-32-fp32"
    place.parent.mkdir()
    place.symlink_to(bundle)
