"""The CPU's step, on the GPU; and two processes over nccl."""

import pytest
import torch

from slowfast.tasks.build import build_training
from tests.commands import SHORT_RUN, SUML_TINY, launch_tool
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg


def test_losses_and_gradients_equal_the_cpu():
    cfg = tiny_cfg()
    cfg.MODEL.DROPOUT_RATE = 0.0  # CPU and CUDA draw different masks from one seed
    results = {}
    torch.backends.cudnn.allow_tf32 = False
    for device in (torch.device("cpu"), torch.device("cuda")):
        torch.manual_seed(0)
        model, task = build_training(cfg)
        model.to(device).train()
        output = task.step(model, paired_batch(0).to(device), 0, 0)
        output.total.backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        results[device.type] = {**output.losses, "gradient": norm}
    for name, value in results["cpu"].items():
        # 1e-3: float32 sums in another order, through 50 layers of batch-norm in training mode.
        torch.testing.assert_close(results["cuda"][name].cpu(), value, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_processes_over_nccl(sample_home):
    args = ("--cfg", SUML_TINY, *SHORT_RUN, "NUM_GPUS", 2, "SOLVER.MAX_EPOCH", 1)
    ended = launch_tool(
        "run_net.py", *args, "OUTPUT_DIR", "runs/nccl", processes=2, cwd=sample_home
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert (sample_home / "runs" / "nccl" / "results.json").is_file()


def test_one_gpu_trains_and_tests(sample_home):
    args = ("--cfg", SUML_TINY, *SHORT_RUN, "NUM_GPUS", 1, "SOLVER.MAX_EPOCH", 1)
    ended = launch_tool("run_net.py", *args, "OUTPUT_DIR", "runs/gpu", processes=1, cwd=sample_home)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert (sample_home / "runs" / "gpu" / "results.json").is_file()
