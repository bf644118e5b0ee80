"""Report of versions, hardware and limits for a bug report (`tools/run_net.py --env`).

This module imports only the standard library at the top, and a fact that cannot be read is reported
with the reason. The report therefore works even if a package is missing or broken.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path

PROJECT = "suml-slowfast"

_GIB = 2**30
_COMMAND_TIMEOUT_SEC = 10
# Variables that change how a run starts, what it computes with, or what it reads.
_VARIABLES = re.compile(
    r"(CUDA|NCCL|GLOO|TORCH|TORCHELASTIC|PYTORCH|OMP|MKL|HF)_\w+|PYTHONPATH|LD_LIBRARY_PATH"
    r"|(LOCAL_|GROUP_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|SLURM_(JOB_ID|NNODES|NTASKS|PROCID)"
)
# The report is pasted into public issues.
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|_KEY")


def environment_report() -> str:
    """Versions, hardware and limits as aligned lines `name: value`. Never raises."""
    facts = [(name, _value(read)) for name, read in _FACTS.items()]
    width = max(len(name) for name, _ in facts) + 1
    return "\n".join(f"{name + ':':<{width}} {value}" for name, value in facts)


def _value(read: Callable[[], str]) -> str:
    """The fact on one line, or the reason why it cannot be read."""
    try:
        return " ".join(read().split())
    except Exception as error:
        return " ".join(f"unknown ({type(error).__name__}: {error})".split())


def _project() -> str:
    try:
        version = metadata.version(PROJECT)
    except metadata.PackageNotFoundError:
        version = "not installed (run `make install`)"
    return f"{version}, {_value(lambda: _commit(Path(__file__).resolve().parents[2]))}"


def _commit(checkout: Path) -> str:
    """Git commit of the code, marked if files differ from it."""
    if not (checkout / ".git").exists():
        return "not a git checkout"
    commit = _output("git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no")
    return f"commit {commit}" + (" with local changes" if changed else "")


def _system() -> str:
    name = _value(lambda: platform.freedesktop_os_release()["PRETTY_NAME"])
    return f"{name}, {platform.platform()}"


def _torch() -> str:
    torch = import_module("torch")
    cudnn = torch.backends.cudnn.version()
    nccl = _value(lambda: ".".join(map(str, torch.cuda.nccl.version())))
    built = torch.version.cuda and f"CUDA {torch.version.cuda}, cuDNN {cudnn}, NCCL {nccl}"
    return f"{torch.__version__}, {built or 'built without CUDA'}"


def _visible_gpus() -> str:
    cuda = import_module("torch").cuda
    if not cuda.is_available():
        return "none"
    gpus = map(cuda.get_device_properties, range(cuda.device_count()))
    return "; ".join(
        f"{gpu.name}, {gpu.total_memory / _GIB:.0f} GiB, compute {gpu.major}.{gpu.minor}"
        for gpu in gpus
    )


def _gpu_driver() -> str:
    """All GPUs of the machine, also those that CUDA_VISIBLE_DEVICES hides."""
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi not found"
    query = "--query-gpu=name,memory.total,driver_version"
    return "; ".join(_output("nvidia-smi", query, "--format=csv,noheader").splitlines())


def _memory() -> str:
    entries = dict(re.findall(r"(\w+): +(\d+) kB", Path("/proc/meminfo").read_text()))
    total, available = (int(entries[key]) * 1024 for key in ("MemTotal", "MemAvailable"))
    text = f"{available / _GIB:.1f} GiB available of {total / _GIB:.1f}"
    # A container may get less than the machine has: cgroup version 2, then 1.
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        value = Path(limit).read_text().strip() if Path(limit).is_file() else ""
        if value.isdigit() and int(value) < total:
            return f"{text}, container limit {int(value) / _GIB:.1f} GiB"
    return text


def _disk(path: str) -> str:
    usage = shutil.disk_usage(path)
    return f"{usage.free / _GIB:.1f} GiB free of {usage.total / _GIB:.1f}"


def _open_files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{soft} (hard limit {hard})"


def _packages(extra: bool = False) -> str:
    """Installed versions of the requirements in setup.py; `extra`: of its installed extras."""
    versions = []
    for requirement in metadata.requires(PROJECT) or []:
        found = re.match(r"[\w.-]+", requirement)
        if found is None or ("extra ==" in requirement) != extra:
            continue
        try:
            versions.append(f"{found[0]} {metadata.version(found[0])}")
        except metadata.PackageNotFoundError:
            if not extra:
                versions.append(f"{found[0]} MISSING")
    return ", ".join(versions) or "none"


def _opencv() -> str:
    """The JPEG library that OpenCV was built with; decoded pixels depend on it."""
    cv2 = import_module("cv2")
    jpeg = re.search(r"\bJPEG: +(.+)", cv2.getBuildInformation())
    return f"{cv2.__version__}, JPEG {jpeg[1] if jpeg else 'not supported'}"


def _simplejpeg() -> str:
    return str(import_module("simplejpeg").__version__)


def _av() -> str:
    """Versions of PyAV and its FFmpeg; codecs and seeking depend on them."""
    av = import_module("av")
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"{av.__version__}, FFmpeg {getattr(av, 'ffmpeg_version_info', '')} libavcodec {codec}"


def _variables() -> str:
    names = [name for name in sorted(os.environ) if _VARIABLES.fullmatch(name)]
    shown = (f"{n}={'(hidden)' if _SECRET.search(n) else os.environ[n]}" for n in names)
    return " ".join(shown) or "none"


def _output(*command: str) -> str:
    """Standard output of a command. Raises: OSError, subprocess.SubprocessError."""
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_SEC, check=True
    )
    return ended.stdout.strip()


_FACTS: dict[str, Callable[[], str]] = {
    PROJECT: _project,
    "Python": platform.python_version,
    "OS": _system,
    # Must come before the packages, because importing cv2 changes LD_LIBRARY_PATH.
    "variables": _variables,
    "torch": _torch,
    "GPUs visible to torch": _visible_gpus,
    "GPUs and driver": _gpu_driver,
    "CPUs": lambda: f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}",
    "memory": _memory,
    "/dev/shm": lambda: _disk("/dev/shm"),
    "working directory": lambda: _disk("."),
    "open files (ulimit -n)": _open_files,
    "packages": _packages,
    "packages of extras": lambda: _packages(extra=True),
    "opencv": _opencv,
    "simplejpeg": _simplejpeg,
    "av": _av,
}
