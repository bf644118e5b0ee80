"""The parts of the check, in the order of their worth: names, limits and commands."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

_SUML_TINY = "configs/sample/SUML_tiny.yaml"
_BENCHMARK = ("tools/benchmark.py",)
# The part's report, which it writes itself; the runner names the file.
JSON = "{json}"
_REPORT = ("--json", JSON)


@dataclass(frozen=True)
class Part:
    """One process of the check.

    limit_sec: wall time after which the process and its children are killed.
    arguments: of the Python interpreter; `{json}` stands for the file of the part's report.
    """

    name: str
    limit_sec: float
    arguments: tuple[str, ...]

    def command(self, json: Path) -> list[str]:
        return [sys.executable, *(word.replace(JSON, str(json)) for word in self.arguments)]


# Sizes at which every part runs within seconds on a CPU.
_TINY_MODEL = (
    *("RESNET.WIDTH_PER_GROUP", "4", "SLOWFAST.BETA_INV", "2", "DATA.NUM_FRAMES", "8"),
    *("DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32"),
)
_TINY_RUN = (
    *("EXO.NUM_FRAMES", "8", "DATA.TRAIN_JITTER_SCALES", "[32, 40]"),
    *("DATA_LOADER.NUM_WORKERS", "0", "BN.USE_PRECISE_STATS", "False"),
    *("TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1"),
)
_ALL_OPTIONS = (
    *("TRAIN.PRECISION", "bf16", "TEST.PRECISION", "bf16", "MODEL.CHANNELS_LAST", "True"),
    *("MODEL.CONV_2D", "True", "SOLVER.FUSED", "always", "TEST.FOLD_BN", "True"),
)


def one_gpu(device: str, output: Path) -> list[Part]:
    """The check of one GPU, about 9 minutes at most; on `cpu` the rehearsal, at tiny sizes."""
    on_gpu = device == "cuda"
    opts = () if on_gpu else _TINY_MODEL
    clips = () if on_gpu else ("--clips", "2")
    rounds = ("--rounds", "3" if on_gpu else "1")

    def measured(what: str, *more: str) -> tuple[str, ...]:
        return (*_BENCHMARK, what, "--device", device, *clips, *rounds, *_REPORT, *more, *opts)

    def sample(name: str, *more: str) -> tuple[str, ...]:
        run = ("NUM_GPUS", str(int(on_gpu)), "SOLVER.MAX_EPOCH", "1", "TRAIN.AUTO_RESUME", "False")
        small = () if on_gpu else (*_TINY_MODEL, *_TINY_RUN)
        folder = ("OUTPUT_DIR", str(output / name))
        return ("tools/run_net.py", "--cfg", _SUML_TINY, *run, *folder, *small, *more)

    options = _ALL_OPTIONS if on_gpu else _ALL_OPTIONS[4:]  # Few CPUs have bf16 arithmetic.
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow")
    real = ("--cfg", _SUML_TINY)
    tiny_real = () if on_gpu else _TINY_RUN
    one_by_one = (*measured("options", *real), *tiny_real)
    # Compilation takes minutes and a compiler; the rehearsal leaves it out.
    compiled_step = [Part("step, compiled", 180, measured("step", "--compiled"))]
    compiled_sample = [Part("sample, compiled", 90, measured("options", "--compiled", *real))]
    return [
        Part("environment", 30, ("tools/run_net.py", "--env")),
        Part("CPU/CUDA parity", 60, (*tests, "tests/gpu/test_step.py", "-k", "equal_the_cpu")),
        Part("step", 150, measured("step")),
        Part("resume", 40, (*_BENCHMARK, "resume", "--device", device, *_REPORT)),
        Part("evaluation", 60, measured("eval")),
        Part("largest batch", 60, measured("batch")),
        Part("tests/gpu", 120, (*tests, "tests/gpu")),
        Part("sample, each speed option", 60, one_by_one),
        *(compiled_step if on_gpu else []),
        Part("sample, fp32", 60, sample("fp32")),
        Part("sample, all speed options", 60, sample("options", *options)),
        Part("checkpoint", 40, measured("checkpoint")),
        Part("real batches", 60, (*measured("step", "--real-batches", *real), *tiny_real)),
        *(compiled_sample if on_gpu else []),
    ]


def many_gpus(device: str, processes: int, output: Path) -> list[Part]:
    """Parts for several GPUs, over nccl; in the rehearsal as many processes over gloo.

    The tests take two of them.
    """
    on_gpu = device == "cuda"
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--device", device)
    equal = (
        "tests/distributed/test_gathered_step.py",
        "tests/distributed/test_synchronised_norms.py",
    )
    stops = ("tests/faults/test_processes.py", "-k", "killed_rank or command_alone")
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
    sizes = ("--rounds", "3") if on_gpu else ("--rounds", "1", "--clips", "1", *_TINY_MODEL)
    gpus = processes if on_gpu else 0
    run = ("NUM_GPUS", str(gpus), "SOLVER.MAX_EPOCH", "1", "OUTPUT_DIR", str(output / "synced"))
    small = () if on_gpu else (*_TINY_MODEL, *_TINY_RUN)
    norm = ("BN.NORM_TYPE", "sync_batchnorm", "TRAIN.AUTO_RESUME", "False")
    train = ("tools/run_net.py", "--cfg", _SUML_TINY, *run, *small, *norm)
    scale = (*_BENCHMARK, "scale", "--device", device, "--processes", str(processes), *_REPORT)
    return [
        Part("gathered losses, synchronised norms", 120, (*tests, *equal)),
        Part("training with synchronised norms", 90, (*launcher, *train)),
        Part("weak scaling", 90, (*scale, *sizes)),
        Part("killed rank, stop by signal", 180, (*tests, *stops)),
    ]
