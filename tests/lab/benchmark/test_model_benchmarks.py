"""The model's benchmarks run on tiny models, compare the same work and count right."""

import json

import pytest
import torch
from torch import Tensor, nn

from slowfast.engine.preflight.cost import KeptForBackward, step_cost, synthetic_batch, view_cost
from slowfast.lab.benchmark import batch, evaluation, options, scale, step, workload
from slowfast.lab.benchmark.timing import count_waits
from slowfast.lab.benchmark.workload import (
    PLAIN,
    Variant,
    made_cfg,
    variants,
)
from slowfast.models.slowfast import NUM_BLOCKS
from tests.commands import run_tool

CPU = torch.device("cpu")
OURS = Variant("ours", "fp32", {"MODEL.CHANNELS_LAST": True, "SOLVER.FUSED": "always"})


@pytest.fixture
def cfg(monkeypatch):
    monkeypatch.setitem(NUM_BLOCKS, 50, (1, 1, 1, 1))
    cfg = made_cfg(CPU)
    cfg.RESNET.WIDTH_PER_GROUP, cfg.SLOWFAST.BETA_INV = 4, 2
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 32
    cfg.DATA.NUM_FRAMES = cfg.EXO.NUM_FRAMES = 8
    return cfg


def dual(cfg):
    cfg.MODEL.MODEL_NAME, cfg.SUML.ENABLE, cfg.SUML.EMBED_DIM = "EgoExoSlowFast", True, 8
    return cfg


def test_step(cfg, tmp_path):
    batches = [synthetic_batch(cfg, 2, seed) for seed in range(3)]
    report = step.step_benchmark(cfg, 2, CPU, 1, batches, [Variant(PLAIN), OURS])
    assert report.holds, report.lines()
    assert set(report.tables[0].milliseconds) == {PLAIN, "ours"}
    assert set(report.tables[1].milliseconds) == {"for-loop", "multi-tensor", "fused"}
    ours = report.figures["ours"]
    assert 0 <= ours["data wait, share"] <= 1
    # The plain step reads two losses and their sum, and asks before the update.
    assert (
        ours["waits of the host per step"]
        == 0
        < report.figures[PLAIN]["waits of the host per step"]
    )
    report.save(tmp_path / "step.json")
    assert json.loads((tmp_path / "step.json").read_text())["figures"]["ours"] == ours


def test_a_step_that_computes_something_else_is_noticed(cfg):
    other = Variant("other", "fp32", {"BN.NORM_TYPE": "frozen"})
    report = step.step_benchmark(dual(cfg), 2, CPU, 1, chosen=[Variant(PLAIN), other])
    assert [check.holds for check in report.checks] == [True, False]


def test_options(cfg, monkeypatch):
    """A few steps and a test with each; one that computes something else is noticed."""
    batches = [synthetic_batch(dual(cfg), 4, seed) for seed in range(2)]
    monkeypatch.setattr(options, "_batches", lambda _: batches)
    chosen = options.speed_options(CPU)
    names = [variant.name for variant in chosen]
    assert len(set(names)) == len(names)
    other = Variant("other", settings={"BN.NORM_TYPE": "frozen"})
    folded = next(v for v in chosen if "TEST.FOLD_BN" in v.settings)
    report = options.options_benchmark(cfg, CPU, [Variant(PLAIN), OURS, folded, other])
    assert [check.holds for check in report.checks] == [True] * 4 + [False, True]
    assert [v.name for v in options.speed_options(CPU, compiled=True)][1:] == [
        "compiled",
        "compiled, CUDA graphs",
    ]


def test_compiled_steps(cfg, monkeypatch):
    """The backbones are not really compiled: that takes minutes and a C++ compiler."""
    modes = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, mode: modes.append(mode))
    chosen = workload.compiled_variants(CPU)
    report = step.step_benchmark(cfg, 2, CPU, 1, chosen=chosen)
    assert report.holds, report.lines()
    assert modes == ["default", "reduce-overhead"]
    assert set(report.figures) == {variant.name for variant in chosen}


def test_batch(cfg, monkeypatch):
    monkeypatch.setattr(batch, "fastest_eager", lambda _: OURS)
    report = batch.batch_benchmark(cfg, CPU, 4)
    assert list(report.figures) == ["1 clips", "2 clips", "4 clips"]
    memory = [figures["predicted GiB"] for figures in report.figures.values()]
    # Weights and optimizer, and activations that double: 2 * (b - a) = c - b.
    assert memory[2] - memory[1] == pytest.approx(2 * (memory[1] - memory[0]), rel=0.02)
    assert report.remarks == ["ours"]


def test_exhausted_memory_ends_the_batches(cfg, monkeypatch):
    monkeypatch.setattr(batch, "fastest_eager", lambda _: OURS)
    measured = batch._measure

    def exhausted(update, cfg, clips, device):
        if clips == 2:
            raise torch.OutOfMemoryError
        return measured(update, cfg, clips, device)

    monkeypatch.setattr(batch, "_measure", exhausted)
    report = batch.batch_benchmark(cfg, CPU)
    assert list(report.figures) == ["1 clips"]
    assert report.remarks == ["ours", "2 clips: out of memory"]


def test_eval(cfg):
    folded = Variant("folded", "fp32", {"TEST.FOLD_BN": True, "MODEL.CONV_2D": True})
    report = evaluation.evaluation_benchmark(cfg, 2, CPU, 1, [Variant(PLAIN), folded])
    assert report.holds, report.lines()
    assert report.figures["folded"]["views/s"] > 0


def test_scale(cfg):
    report = scale.scale_benchmark(cfg, 2, 1, 2, cuda=False)
    assert [len(table.milliseconds) for table in report.tables] == [2, 2]
    assert report.figures["communication per process and step"]["gradient bytes sent"] > 0


def test_traffic_of_the_published_model():
    cfg = made_cfg(torch.device("cuda"))
    sent = scale.traffic(cfg, 32, 8)
    assert sent["gradient bytes"] / 4e6 == pytest.approx(126.7, abs=0.1)
    assert sent["gradient bytes sent"] == sent["gradient bytes"] * 7 / 4
    cfg.SUML.GATHER = False
    assert "embedding bytes sent" not in scale.traffic(cfg, 32, 8)


@pytest.mark.parametrize("training", [False, True])
def test_operations_of_r101(training):
    """As counted by hand for the paper's model: 251.8 GFLOP forward, 1,494 per pair and step."""
    cfg = made_cfg(torch.device("cuda"))
    # Head and projections are not in these figures, and the input's gradient is not taken.
    expected, flops = (1494, step_cost(cfg, 1).flops) if training else (251.8, view_cost(cfg).flops)
    assert flops / 1e9 == pytest.approx(expected, rel=0.005)


def test_variants_of_a_device(monkeypatch):
    names = [variant.name for variant in variants(CPU, has_bf16=False)]
    assert names[0] == PLAIN
    assert not any("bf16" in name for name in names)
    monkeypatch.setattr(workload, "has_bf16", lambda _: True)
    cuda = torch.device("cuda")
    eager = workload.fastest_eager(cuda).cfg(made_cfg(CPU))
    assert (eager.MODEL.COMPILE, eager.TRAIN.PRECISION, eager.MODEL.CONV_2D) == (
        False,
        "bf16",
        True,
    )
    compiled = [variant.cfg(made_cfg(CPU)).MODEL for variant in workload.compiled_variants(cuda)]
    assert [model.COMPILE for model in compiled] == [False, False, True, True]
    assert [model.COMPILE_MODE for model in compiled] == [*["default"] * 3, "reduce-overhead"]
    last = workload.compiled_variants(cuda)[-1].cfg(made_cfg(CPU))
    assert not Variant(PLAIN).cfg(last).MODEL.COMPILE


@pytest.mark.parametrize("read", [Tensor.item, bool, Tensor.tolist, Tensor.nonzero, Tensor.cpu])
def test_every_wait_is_counted(read):
    one = torch.ones(())
    assert count_waits(lambda: read(one), CPU)
    assert count_waits(lambda: one + one, CPU) == {}


def test_waits_on_cuda_are_those_that_torch_reports(monkeypatch):
    modes = ["default"]
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)

    def work():
        assert modes[-1] == "warn"
        import warnings

        for text in ("called a synchronizing CUDA operation", "something else"):
            warnings.warn(text, stacklevel=1)

    assert count_waits(work, torch.device("cuda")) == {"synchronisations": 1}
    assert modes[-1] == 0


def test_activations_are_counted_once_and_without_weights():
    layer = nn.Linear(256, 256)
    x = torch.randn(1024, 256, requires_grad=True)
    kept = KeptForBackward(layer.parameters())
    with kept.counting():
        layer(x).square() + layer(x)
    # The input of the layer, once, and that of the square: 1 MiB each.
    assert kept.bytes == 2 * 2**20


def test_command(tmp_path):
    size = ("DATA.TEST_CROP_SIZE", 32, "DATA.NUM_FRAMES", 8, "RESNET.WIDTH_PER_GROUP", 8)
    args = ("eval", "--rounds", 1, "--clips", 1, "--device", "cpu", "--json", tmp_path / "e.json")
    ended = run_tool("benchmark.py", *args, *size, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "views/s" in ended.stdout
    assert json.loads((tmp_path / "e.json").read_text())["benchmark"] == "eval"
