"""The commands of docs/fleet_walkthrough.md that need a store and Ray; the others run with all documents."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from harmonyrt.fleet.results import read_results

WHERE = "needs Ray's environment: make test-fleet"
ROOT = Path(__file__).resolve().parents[2]


def blocks():
    """The page's blocks, by the reader of the documents' own tests."""
    spec = importlib.util.spec_from_file_location("documents", ROOT / "tests" / "house" / "documents.py")
    documents = importlib.util.module_from_spec(spec)
    sys.modules["documents"] = documents
    spec.loader.exec_module(documents)
    return documents.blocks(ROOT / "docs" / "fleet_walkthrough.md")


def test_the_page_goes_from_a_folder_to_a_bucket_to_ray(tmp_path, monkeypatch, bundle):
    server = pytest.importorskip("moto.server", reason=WHERE)
    pytest.importorskip("ray", reason=WHERE)
    s3fs = pytest.importorskip("s3fs", reason=WHERE)
    monkeypatch.chdir(tmp_path)
    for folder in ("composites", "masks"):
        Path(folder).mkdir()
    for name in ("a", "b"):
        Image.open(ROOT / "examples" / "lemur.jpg").resize((96, 64)).save(f"composites/{name}.png")
        Image.open(ROOT / "examples" / "lemur_mask.png").convert("L").resize((96, 64)).save(f"masks/{name}.png")
    shutil.copytree(bundle, "engines/phnet-128-fp32")
    s3 = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    try:
        host, port = s3.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("shop")
        for block in blocks():
            if "cluster" in block.marks.get("needs", ""):
                continue
            how = [sys.executable, "-c", block.text] if block.language == "python" else ["bash", "-euc", block.script()]
            done = subprocess.run(how, capture_output=True, text=True)
            assert done.returncode == 0, f"{block.name}:\n{block.text}\n{(done.stdout + done.stderr)[-3000:]}"
        found = {}
        for out in ("out", "s3://shop/out", "s3://shop/by-table", "s3://shop/on-ray"):
            rows = list(read_results(out))
            assert sorted(row["id"] for row in rows) == ["a.png", "b.png"], out
            found[out] = {row["id"]: row["output_sha256"] for row in rows}
        assert len({str(sorted(hashes.items())) for hashes in found.values()}) == 1, "the same pictures each time"
    finally:
        s3.stop()
        s3fs.S3FileSystem.clear_instance_cache()
