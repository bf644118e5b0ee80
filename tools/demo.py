#!/usr/bin/env python3
"""`make demo`: render the sample, mine its pairs, train SUM-L in two processes, test it.

The test logs the table of results; at the end, some of its clips are drawn.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

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
    launcher = f"python -m torch.distributed.run --standalone --nproc_per_node {processes}"
    options = f"--cfg {CONFIG} NUM_GPUS {gpus and processes} OUTPUT_DIR {RUN}"
    call(*launcher.split(), "tools/run_net.py", *options.split())
    call("python", "tools/draw_clips.py", str(RUN))
    call("python", "tools/report.py", str(RUN))
    newest = max((ROOT / RUN / "checkpoints").glob("checkpoint_epoch_*.pyth"))
    print(f"\npicture      {RUN}/clips.png")
    print(f"log          {RUN}/log.txt")
    print(f"checkpoint   {newest.relative_to(ROOT)}")
    print(f"predictions  {RUN}/predictions.pkl")
    print(f"results      {RUN}/results.json")
    print("\nWhat to look at next:")
    print("  docs/getting-started.md  a first run of your own, on this sample or on your data")
    print("  data/README.md           where the files of EPIC-KITCHENS go")
    print(f"  {EPIC_CONFIG}  SUM-L on EPIC-KITCHENS-100")
    print(f"\nreport       {RUN}/report.html: open it in a browser")


if __name__ == "__main__":
    run_command(main)
