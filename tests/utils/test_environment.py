"""The report for bug reports: complete where all is well, and never an exception."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from slowfast.utils import environment
from slowfast.utils.environment import environment_report
from tests.commands import ROOT, run_tool


def facts(report: str) -> dict[str, str]:
    """Name -> value, one line each."""
    return {
        name: value.strip() for name, value in (line.split(":", 1) for line in report.splitlines())
    }


def test_report_of_the_command(tmp_path):
    ended = run_tool("run_net.py", "--env", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = facts(ended.stdout)
    assert list(found) == list(environment._FACTS)
    assert found["Python"] == platform.python_version()
    assert found["torch"].startswith(torch.__version__)
    assert "OMP_NUM_THREADS=1" in found["variables"]
    assert not [f"{name}: {value}" for name, value in found.items() if "unknown" in value]


def test_env_may_follow_a_whole_command_line(tmp_path):
    ended = run_tool("run_net.py", "--cfg", "none.yaml", "NUM_GPUS", 0, "--env", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "torch" in facts(ended.stdout)


def test_cfg_is_still_required_without_env(tmp_path):
    ended = run_tool("run_net.py", "NUM_GPUS", 0, cwd=tmp_path)
    assert ended.returncode == 2
    assert "required: --cfg" in ended.stderr


def test_the_first_process_alone_prints(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    ended = run_tool("run_net.py", "--env", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_a_torch_that_cannot_be_imported_is_reported(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: no such file')")
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "run_net.py"), "--env"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    found = facts(ended.stdout)
    assert found["torch"] == "unknown (ImportError: libcudart.so.12: no such file)"
    assert found["Python"] == platform.python_version()


def test_every_declared_package_has_a_version():
    declared = [
        line.split(">=")[0] for line in metadata.requires("suml-slowfast") if "extra" not in line
    ]
    versions = facts(environment_report())["packages"]
    assert versions == ", ".join(f"{name} {metadata.version(name)}" for name in declared)


def test_a_missing_package_is_named(monkeypatch):
    def version(name: str) -> str:
        if name == "yacs":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(environment.metadata, "version", version)
    assert "yacs MISSING" in facts(environment_report())["packages"]


def test_a_project_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(environment, "PROJECT", "no-such-package")
    assert "not installed (run `make install`)" in environment._project()
    assert environment._value(environment._packages).startswith("unknown (PackageNotFoundError")


def test_no_failing_fact_ends_the_report(monkeypatch):
    def fail() -> str:
        raise OSError("two\nlines")

    names = list(environment._FACTS)
    monkeypatch.setattr(environment, "_FACTS", dict.fromkeys(names, fail))
    assert facts(environment_report()) == dict.fromkeys(names, "unknown (OSError: two lines)")


def test_tokens_are_hidden(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("UNRELATED", "1")
    shown = environment._variables()
    assert "HF_TOKEN=(hidden)" in shown
    assert "NCCL_DEBUG=INFO" in shown
    assert "hf_abc" not in shown
    assert "UNRELATED" not in shown


def test_gpus(monkeypatch, tmp_path):
    gpu = SimpleNamespace(name="H100", total_memory=80 * 2**30, major=9, minor=0)
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_properties=lambda index: gpu,
        nccl=SimpleNamespace(version=lambda: (2, 27, 5)),
    )
    fake = SimpleNamespace(
        cuda=cuda,
        __version__="2.13.0",
        version=SimpleNamespace(cuda="13.0"),
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91900)),
    )
    monkeypatch.setattr(environment, "import_module", lambda name: fake)
    assert environment._torch() == "2.13.0, CUDA 13.0, cuDNN 91900, NCCL 2.27.5"
    assert environment._visible_gpus() == "; ".join(["H100, 80 GiB, compute 9.0"] * 2)

    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'H100, 81559 MiB, 580.95'\necho 'H100, 81559 MiB, 580.95'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert environment._gpu_driver() == "; ".join(["H100, 81559 MiB, 580.95"] * 2)


@pytest.mark.parametrize("changed", [False, True])
def test_commit(tmp_path, changed):
    assert environment._commit(tmp_path) == "not a git checkout"
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c")
    (tmp_path / "file").write_text("one")
    for command in (("init", "-q"), ("add", "file"), ("commit", "-qm", "first")):
        subprocess.run([*git, *command], check=True)
    if changed:
        (tmp_path / "file").write_text("two")
    text = environment._commit(tmp_path)
    assert text.startswith("commit ")
    assert text.endswith(" with local changes") == changed
