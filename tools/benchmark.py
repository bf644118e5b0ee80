#!/usr/bin/env python3
"""Measure the data engine: `tools/benchmark.py loader|views|pairs|narrations [--cfg FILE ...]`.

Times the published steps, ours and the limit in turns, checks that the numbers agree in the same
run, and writes JSON. Without --cfg the frames are made, like EPIC's: 456x256 pixels, 18 KB.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slowfast.benchmark.frames import Video, configured_video, made_video
from slowfast.benchmark.loader import loader_benchmark
from slowfast.benchmark.narrations import narrations_benchmark
from slowfast.benchmark.pairs import pairs_benchmark
from slowfast.benchmark.report import Report
from slowfast.benchmark.views import LENGTHS, views_benchmark
from slowfast.config import get_cfg, load_config
from slowfast.utils.cli import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("loader", "views", "pairs", "narrations"))
    parser.add_argument("--cfg", help="YAML file: its frames or encoder, not made ones")
    parser.add_argument("--rounds", type=int, default=5, help="that count; one more is dropped")
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--segments", type=int, default=32, help="loader: segments that are read")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=LENGTHS, help="views: frames of the segments"
    )
    parser.add_argument("--ego", type=int, default=67217, help="pairs: ego segments")
    parser.add_argument("--exo", type=int, default=10000, help="pairs: exo segments")
    parser.add_argument(
        "--model-clips-per-sec", type=float, help="loader: clips that one GPU's model trains on"
    )
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs over the file")
    return parser.parse_intermixed_args()


def measure(args: argparse.Namespace, folder: Path) -> Report:
    cfg = load_config(args.cfg, args.opts) if args.cfg else get_cfg()

    def video(split: str, lengths: Sequence[int] = ()) -> Video:
        if args.cfg:
            return configured_video(cfg, split, lengths, args.segments)
        return made_video(folder, lengths, args.segments)

    if args.what == "loader":
        return loader_benchmark(video("train"), args.rounds, args.model_clips_per_sec)
    if args.what == "views":
        return views_benchmark(video("test", args.lengths), args.rounds)
    if args.what == "pairs":
        return pairs_benchmark(args.ego, args.exo, args.rounds)
    return narrations_benchmark(cfg.SUML.ENCODER, cfg.SUML.EMBED_DIM, args.rounds)


def main() -> int:
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(args, Path(folder))
    print("\n".join(report.lines()))
    if args.json:
        report.save(args.json)
    return 0 if report.holds else 1


if __name__ == "__main__":
    run_command(main)
