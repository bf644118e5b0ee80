#!/usr/bin/env python3
"""Measure the data engine and the model.

`tools/benchmark.py WHAT [--cfg FILE] [KEY VALUE]`, WHAT one of loader, videos, views, pairs,
narrations, features, step, eval, scale, batch, options, checkpoint, resume.

Times the published steps, ours and the limit alternately, checks that the numbers agree in the same
run, and writes JSON. Without --cfg the frames are synthetic, like EPIC's: 456x256 pixels, 18 KB.
step, eval, scale and batch use random input, and without --cfg a model that suits the machine;
checkpoint uses the dual R101, resume a small dual model.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from slowfast.config import get_cfg, load_config
from slowfast.datasets.build import build_dataset
from slowfast.datasets.loading.loader import build_loader
from slowfast.lab.benchmark.batch import batch_benchmark
from slowfast.lab.benchmark.checkpoint import checkpoint_benchmark
from slowfast.lab.benchmark.evaluation import evaluation_benchmark
from slowfast.lab.benchmark.features import features_benchmark, features_cfg
from slowfast.lab.benchmark.frames import Video, configured_video, made_video
from slowfast.lab.benchmark.loader import loader_benchmark
from slowfast.lab.benchmark.narrations import configured_texts, made_texts, narrations_benchmark
from slowfast.lab.benchmark.options import options_benchmark, speed_options
from slowfast.lab.benchmark.pairs import (
    DISTINCT,
    TOP_K,
    configured_data,
    made_data,
    pairs_benchmark,
)
from slowfast.lab.benchmark.report import Report
from slowfast.lab.benchmark.resume import resume_benchmark
from slowfast.lab.benchmark.scale import scale_benchmark
from slowfast.lab.benchmark.step import step_benchmark
from slowfast.lab.benchmark.videos import videos_benchmark
from slowfast.lab.benchmark.views import LENGTHS, views_benchmark
from slowfast.lab.benchmark.workload import compiled_variants, fitting_clips, made_cfg
from slowfast.semantics.ivf_search import IvfSearch
from slowfast.utils.cli import run_command
from slowfast.utils.expand import path_option

_DATA = ("loader", "videos", "views", "pairs", "narrations", "features")
_MODEL = ("step", "eval", "scale", "batch", "options", "checkpoint", "resume")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=(*_DATA, *_MODEL))
    parser.add_argument("--cfg", help="YAML file, for its frames, lists and encoder")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after a first one")
    parser.add_argument("--json", type=path_option, help="file for the result")
    parser.add_argument("--segments", type=int, default=32, help="loader, videos: segments")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=LENGTHS, help="views: frames of the segments"
    )
    parser.add_argument("--ego", type=int, default=67217, help="pairs, features: ego segments")
    parser.add_argument("--exo", type=int, help="exo segments (pairs: 10000, features: 40000)")
    parser.add_argument("--width", type=int, default=1024, help="features: channels")
    parser.add_argument("--per-segment", type=int, default=4, help="features: views of a segment")
    parser.add_argument(
        "--distinct", type=float, default=DISTINCT, help="pairs: share of distinct narrations"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="features; pairs: 1: processor time; more: wall time"
    )
    parser.add_argument(
        "--ivf-probes", type=int, nargs="+", default=[], help="pairs: time an index, too"
    )
    parser.add_argument("--ivf-lists", type=int, default=0, help="pairs: as SUML.PAIRS.IVF_LISTS")
    parser.add_argument(
        "--model-clips-per-sec", type=float, help="loader: clips that one GPU's model trains on"
    )
    parser.add_argument(
        "--clips",
        type=int,
        help="step, eval, scale: in a process (CPU: 2; GPU: what fits; eval: 6, 30)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="model: default: cuda if available"
    )
    parser.add_argument(
        "--real-batches",
        action="store_true",
        help="step: share of data wait over an epoch of --cfg",
    )
    parser.add_argument(
        "--compiled", action="store_true", help="step: MODEL.COMPILE, too, which takes minutes"
    )
    parser.add_argument("--processes", type=int, default=2, help="scale: against one")
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs over the file")
    return parser.parse_intermixed_args()


def measure_model(args: argparse.Namespace) -> Report:
    """Run one of the benchmarks in `_MODEL`."""
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.cfg:
        cfg = load_config(args.cfg, args.opts)
    else:
        size = torch.device("cuda") if args.what == "checkpoint" else device
        cfg = made_cfg(size)
        cfg.merge_from_list(args.opts)
    on_gpu = device.type == "cuda"
    if args.what == "checkpoint":
        return checkpoint_benchmark(cfg, device, args.rounds)
    if args.what == "resume":
        return resume_benchmark(device)
    if args.what == "options":
        return options_benchmark(cfg, device, speed_options(device, args.compiled))
    if args.what == "batch":
        return batch_benchmark(cfg, device, args.clips or (None if on_gpu else 2))
    if args.what == "eval":
        views = args.clips or (30 if on_gpu else 6)
        return evaluation_benchmark(cfg, views, device, args.rounds)
    clips = args.clips or (fitting_clips(cfg, device) if on_gpu else 2)
    if args.what == "scale":
        # One process takes the clips of all, for strong scaling.
        clips = args.clips or max(clips // args.processes, 1)
        return scale_benchmark(cfg, clips, args.rounds, args.processes, on_gpu)
    if not args.real_batches:
        chosen = compiled_variants(device) if args.compiled else None
        return step_benchmark(cfg, clips, device, args.rounds, chosen=chosen)
    loader = build_loader(cfg, build_dataset(cfg.TRAIN.DATASET, cfg, "train"), "train")
    try:
        return step_benchmark(cfg, clips, device, args.rounds, loader)
    finally:
        loader.close()


def measure(args: argparse.Namespace, folder: Path) -> Report:
    if args.what in _MODEL:
        return measure_model(args)
    if args.what == "videos":
        return videos_benchmark(folder, args.segments, args.rounds)
    if args.what == "features":
        made = features_cfg(get_cfg(), args.width, args.opts)
        counts = args.ego, args.exo or 40000
        return features_benchmark(made, folder, counts, args.per_segment, args.threads)
    cfg = load_config(args.cfg, args.opts) if args.cfg else get_cfg()
    if not args.cfg:
        cfg.merge_from_list(args.opts)

    def video(split: str, lengths: Sequence[int] = ()) -> Video:
        if args.cfg:
            return configured_video(cfg, split, lengths, args.segments)
        return made_video(folder, lengths, args.segments)

    if args.what == "loader":
        return loader_benchmark(video("train"), args.rounds, args.model_clips_per_sec)
    if args.what == "views":
        return views_benchmark(video("test", args.lengths), args.rounds)
    if args.what == "pairs":
        return pairs_benchmark(
            configured_data(cfg)
            if args.cfg
            else made_data(args.ego, args.exo or 10000, args.distinct),
            args.rounds,
            top_k=cfg.SUML.PAIRS.TOP_K if args.cfg else TOP_K,
            threads=args.threads,
            ivf=[IvfSearch(args.ivf_lists, probes) for probes in args.ivf_probes],
        )
    texts = configured_texts(cfg) if args.cfg else made_texts()
    return narrations_benchmark(texts, cfg.SUML.ENCODER, cfg.SUML.EMBED_DIM, args.rounds)


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
