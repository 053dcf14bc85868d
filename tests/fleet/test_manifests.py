"""The files in examples/fleet are what Ray, Ray Serve and Kubernetes' tools take."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WHERE = "needs Ray's environment: make test-fleet"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "fleet"
RULES = "{extends: default, rules: {line-length: {max: 120}, document-start: disable, comments: disable}}"


def tool(name: str) -> str:
    return shutil.which(name, path=Path(sys.executable).parent) or pytest.skip(WHERE)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_cluster_file_has_the_shape_that_ray_up_wants():
    ray = pytest.importorskip("ray", reason=WHERE)
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    run(tool("check-jsonschema"), "--schemafile", str(schema), str(EXAMPLES / "cluster.yaml"))


def test_the_config_of_the_service_is_one_of_ray_serve():
    pytest.importorskip("ray", reason=WHERE)
    yaml = pytest.importorskip("yaml", reason=WHERE)
    from ray.serve.schema import ServeDeploySchema

    from harmonyrt.fleet.service import Options

    whole = ServeDeploySchema.model_validate(yaml.safe_load((EXAMPLES / "serve.yaml").read_text()))
    assert whole.applications[0].import_path == "harmonyrt.fleet.service:app"
    assert Options.read(whole.applications[0].args).most_replicas == 64


def test_no_manifest_has_an_indentation_or_a_key_that_readers_take_differently():
    run(tool("yamllint"), "--strict", "-d", RULES, str(EXAMPLES))


def test_the_job_runs_a_command_that_there_is():
    """Every option of the commands in the manifests, by the command line's own parser."""
    yaml = pytest.importorskip("yaml", reason=WHERE)
    import shlex

    from typer.main import get_command

    from harmonyrt.cli.main import app

    job = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text())
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["harmonyrt", "batch"]
    context = get_command(app).commands["batch"].make_context("batch", words[2:])
    assert context.params["places"] == ["s3://shop/pairs.parquet", "s3://shop/harmonized"]
    assert context.params["resume"]
    assert job["apiVersion"] == "ray.io/v1"
