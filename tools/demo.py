#!/usr/bin/env python3
"""`make demo`: render the sample, mine its pairs, train SUM-L in two processes, test it."""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from slowfast.evaluation.tables import format_table
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/sample/SUML_tiny.yaml"
RUN = Path("runs/demo")
EPIC_CONFIG = "configs/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml"


def call(*command: str) -> None:
    """Run one command of the project from its root; its failure ends the demo."""
    sys.stderr.write(f"\n$ {' '.join(command)}\n")
    ended = subprocess.run(
        [sys.executable, *command[1:]], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if ended.returncode:
        raise UserError(f"`{' '.join(command)}` ended with status {ended.returncode}; see above")


def main() -> None:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    processes = min(gpus, 2) or 2
    shutil.rmtree(ROOT / RUN, ignore_errors=True)
    call("python", "tools/make_sample.py", "--out", "data/sample")
    call("python", "tools/mine_pairs.py", "--cfg", CONFIG)
    launcher = ("python", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node")
    call(
        *(*launcher, str(processes), "tools/run_net.py", "--cfg", CONFIG),
        *("NUM_GPUS", str(gpus and processes), "OUTPUT_DIR", str(RUN)),
    )
    newest = max((ROOT / RUN / "checkpoints").glob("checkpoint_epoch_*.pyth"))
    print(format_table(json.loads((ROOT / RUN / "results.json").read_text())))
    print(f"\nlog          {RUN}/log.txt")
    print(f"checkpoint   {newest.relative_to(ROOT)}")
    print(f"predictions  {RUN}/predictions.pkl")
    print(f"results      {RUN}/results.json")
    print("\nThe same on EPIC-KITCHENS-100 (data/README.md tells where its files go), on 8 GPUs:")
    print("  source .venv/bin/activate")
    print(f"  python tools/mine_pairs.py --cfg {EPIC_CONFIG}")
    print(f"  torchrun --nproc_per_node 8 tools/run_net.py --cfg {EPIC_CONFIG} NUM_GPUS 8 \\")
    print("    TRAIN.CHECKPOINT_FILE_PATH ckpts/EGO_EXO_R101.pyth \\")
    print("    EXO.CHECKPOINT_FILE_PATH ckpts/LEMMA_R101.pyth")


if __name__ == "__main__":
    run_command(main)
