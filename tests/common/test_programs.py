import subprocess

import pytest

from harmonyrt.common.programs import module_command


@pytest.mark.parametrize("what", ["package", "room"])
def test_a_folder_of_that_name_does_not_replace_the_installed_package(tmp_path, what):
    folder = tmp_path / "harmonyrt" if what == "package" else tmp_path / "harmonyrt" / "cli"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('replaced')\n")
    done = subprocess.run([*module_command("harmonyrt.cli"), "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("harmonyrt ")
    assert (done.returncode, done.stderr) == (0, "")
