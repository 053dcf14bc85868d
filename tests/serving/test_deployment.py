"""The container, compose file, Kubernetes manifest and systemd unit: linted, and true to the server that they start."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML reads the files")
ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


def compose() -> dict[str, Any]:
    return yaml.safe_load(text("deploy/compose.yaml"))["services"]["server"]


def kubernetes() -> tuple[dict[str, Any], dict[str, Any]]:
    """The Deployment and the Service."""
    return tuple(yaml.safe_load_all(text("deploy/kubernetes.yaml")))


def pod() -> dict[str, Any]:
    return kubernetes()[0]["spec"]["template"]["spec"]


def unit() -> list[tuple[str, str]]:
    """Settings of the unit's [Service], in order; some stand there twice."""
    section = text("deploy/harmonyrt.service").split("[Service]")[1].split("[Install]")[0]
    lines = [line for line in section.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split("=", 1)) for line in lines]


def stage(name: str) -> list[str]:
    """Instructions of a stage of the Dockerfile; "" is the last one."""
    joined = text("Dockerfile").replace("\\\n", " ")
    stages = re.split(r"^FROM ", joined, flags=re.MULTILINE)[1:]
    found = next(s for s in reversed(stages) if not name or s.splitlines()[0].endswith(f" AS {name}"))
    return [line for line in found.splitlines()[1:] if line.strip() and not line.startswith("#")]


def commands() -> dict[str, list[str]]:
    """Words after `harmonyrt serve`, by where they stand."""
    entry, plain = (
        json.loads(re.search(rf"^{word} (\[.*\])$", "\n".join(stage("server")), re.M)[1])
        for word in ("ENTRYPOINT", "CMD")
    )
    assert entry[:2] == ["harmonyrt", "serve"]
    start = dict(unit())["ExecStart"].split()
    assert start[1] == "serve"
    return {
        "Dockerfile": entry[2:] + plain,
        "compose": entry[2:] + compose()["command"],
        "kubernetes": entry[2:] + pod()["containers"][0]["args"],
        "systemd": start[2:],
    }


def options(words: list[str]) -> dict[str, str]:
    """By name, of `--name value` and `--name=value`."""
    pairs = re.findall(r"(--[\w-]+)[= ](\S+)", " ".join(words))
    assert len(pairs) == sum(word.startswith("--") for word in words), words
    return dict(pairs)


@pytest.mark.parametrize("where", ["Dockerfile", "compose", "kubernetes", "systemd"])
def test_the_server_takes_the_options(where):
    import typer

    from harmonyrt.cli.main import app

    given = options(commands()[where])
    command = typer.main.get_command(app).commands["serve"]
    assert set(given) <= {option for parameter in command.params for option in parameter.opts}
    words = [f"{name}={value}" for name, value in given.items()]
    parsed = command.make_context("serve", words, resilient_parsing=False).params
    assert parsed["port"] == 8000
    if where != "Dockerfile":
        assert parsed["api_keys"], "everybody may ask"
        assert parsed["megapixels_in_flight"] >= parsed["max_megapixels"]
    loopback = where == "systemd"
    assert (parsed["host"] == "127.0.0.1") == loopback


@pytest.mark.parametrize("where", ["compose", "kubernetes", "systemd"])
def test_requests_in_hand_may_end_before_the_kill(where):
    """Connections get --timeout and 5 s, then engines --timeout (serving/server.py, serving/service.py)."""
    from harmonyrt.serving.settings import Settings

    timeout = float(options(commands()[where]).get("--timeout", Settings((Path("b"),)).timeout))
    before = float(pod()["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1]) if where == "kubernetes" else 0
    grace = {
        "compose": compose()["stop_grace_period"].removesuffix("s"),
        "kubernetes": pod()["terminationGracePeriodSeconds"],
        "systemd": dict(unit())["TimeoutStopSec"],
    }[where]
    assert float(grace) >= before + timeout + 5 + timeout


def test_images_have_this_version():
    version = re.search(r'^version = "(.+)"$', text("pyproject.toml"), re.M)[1]
    assert compose()["image"] == pod()["containers"][0]["image"] == f"harmonyrt-server:{version}"


# ---- the container


def test_no_stage_that_is_delivered_runs_as_root():
    base = stage("base")
    user = re.search(r"^USER (\d+)$", "\n".join(base), re.M)[1]
    assert user not in ("0", "root")
    joined = text("Dockerfile")
    for name in ("server", ""):
        assert not any(line.startswith("USER") for line in stage(name))
    assert "\nFROM base AS server\n" in joined
    assert re.search(r"\nFROM base\n(?!.*\nFROM )", joined, re.S), "the command line is what a plain build makes"
    assert pod()["securityContext"]["runAsUser"] == int(user)


def test_the_health_check_tells_a_server_from_none(running):
    line = next(line for line in stage("server") if "HEALTHCHECK" in line)
    words = json.loads(re.search(r"CMD (\[.*\])$", line)[1])
    assert words[0] == "python"
    server = running()
    alive = [sys.executable, *(word.replace(":8000/", f":{server.port}/") for word in words[1:])]
    assert run(*alive).returncode == 0
    server.stop()
    assert run(*alive).returncode != 0


# ---- compose


def test_the_compose_file_has_the_shape_that_docker_wants():
    tool = shutil.which("check-jsonschema", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert tool, "check-jsonschema is not installed: pip install -e '.[dev]'"
    done = run(tool, "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_gives_the_server_little():
    server = compose()
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in server["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert "cache:/cache" in server["volumes"]
    assert server["build"]["target"] == "server"


# ---- Kubernetes


def test_the_manifest_has_the_shape_that_kubernetes_wants():
    done = run(sys.executable, "-m", "kubernetes_validate", "--strict", "deploy/kubernetes.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deployment/harmonyrt" in done.stdout + done.stderr
    assert "service/harmonyrt" in done.stdout + done.stderr


def test_the_pod_may_do_little_and_has_limits():
    (container,) = pod()["containers"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    cache = re.search(r"XDG_CACHE_HOME=(\S+)", text("Dockerfile"))[1]
    assert "emptyDir" in volumes[mounts[cache]["name"]]
    assert all(mount.get("readOnly") or "emptyDir" in volumes[mount["name"]] for mount in mounts.values())
    keys = options(container["args"])["--api-keys"]
    assert str(Path(keys).parent) in mounts


def test_probes_ask_what_the_server_answers(client):
    (container,) = pod()["containers"]
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}
    assert all(client.get(path).status_code == 200 for path in paths.values())


def test_the_service_finds_the_pods():
    deployment, service = kubernetes()
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["ports"][0]["targetPort"] == pod()["containers"][0]["ports"][0]["name"]


# ---- systemd


def systemd_analyze() -> str:
    return shutil.which("systemd-analyze") or pytest.skip("systemd-analyze, of Linux's systemd, is not installed")


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    tool = systemd_analyze()
    start = dict(unit())["ExecStart"].split()[0]
    copy = tmp_path / "harmonyrt.service"
    copy.write_text(text("deploy/harmonyrt.service").replace(start, sys.executable))  # it looks for the program
    done = run(tool, "verify", str(copy))
    said = [line for line in (done.stdout + done.stderr).splitlines() if "harmonyrt.service" in line]
    assert done.returncode == 0, done.stderr
    assert not said
    wrong = tmp_path / "wrong.service"
    wrong.write_text(copy.read_text().replace("ProtectSystem=strict", "ProtectSystem=perhaps"))
    assert "wrong.service" in run(tool, "verify", str(wrong)).stderr, "this check would find nothing"


def test_systemd_rates_the_unit_as_hardened(tmp_path):
    tool = systemd_analyze()
    done = run(tool, "security", "--offline=yes", "--threshold=20", "deploy/harmonyrt.service")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    open_unit = tmp_path / "open.service"
    open_unit.write_text("[Service]\nExecStart=/bin/true\n")
    assert run(tool, "security", "--offline=yes", "--threshold=20", str(open_unit)).returncode != 0


def test_the_unit_can_run_what_it_starts():
    settings = dict(unit())
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text("deploy/harmonyrt.service"))
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    assert settings["DynamicUser"] == "yes"
    assert f"XDG_CACHE_HOME=/var/cache/{settings['CacheDirectory']}" in settings["Environment"]
    name, _, source = settings["LoadCredential"].partition(":")
    assert source.startswith("/etc/")
    assert options(commands()["systemd"])["--api-keys"] == f"${{CREDENTIALS_DIRECTORY}}/{name}"
    assert "MemoryDenyWriteExecute" not in settings, "engines compile machine code"
    assert settings["RestartPreventExitStatus"] == "2"
