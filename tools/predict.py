#!/usr/bin/env python3
"""Label videos over time: `tools/predict.py VIDEO [VIDEO ...] --checkpoint FILE`.

VIDEO: a video file, a folder of frames, or a folder of videos. For each one, OUT/NAME gets
predictions.json, predictions.csv, timeline.png and overlay.mp4.
"""

from __future__ import annotations

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import input_option, path_option

if TYPE_CHECKING:
    from slowfast.inference.loaded_model import LoadedModel
    from slowfast.inference.sliding import SlidingOptions


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+", type=path_option, metavar="VIDEO")
    parser.add_argument(
        "--checkpoint", type=input_option, help="file or URL; default: the newest next to --cfg"
    )
    parser.add_argument(
        "--cfg",
        type=input_option,
        help="YAML file of the model; default: the config in the checkpoint",
    )
    parser.add_argument(
        "--out", type=path_option, default=Path("runs/predict"), help="folder (runs/predict)"
    )
    parser.add_argument("--top", type=int, default=5, help="labels per head and window (5)")
    parser.add_argument(
        "--stride", type=float, metavar="SEC", help="between two windows; default: half a window"
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="frames per second that the model was trained with; default: its data set's, else 30",
    )
    parser.add_argument(
        "--prompts",
        nargs="+",
        metavar="SENTENCE",
        help="score these sentences in place of classes (zero-shot, with a dual checkpoint)",
    )
    parser.add_argument("--explain", action="store_true", help="also explain.png: Grad-CAM maps")
    parser.add_argument("--no-overlay", action="store_true", help="no overlay.mp4, which is slow")
    parser.add_argument("--batch", type=int, default=8, help="windows of one forward pass (8)")
    parser.add_argument("--workers", type=int, default=0, help="loader processes (0)")
    parser.add_argument("--device", default="", help="cpu or cuda; default: cuda if there is one")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.prompts and args.explain:
        raise UserError("--explain shows classes; leave out --prompts")
    for name in ("top", "batch", "fps", "stride"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise UserError(f"--{name} is {value}; set it above 0")
    videos = [video for path in args.videos for video in videos_in(path)]
    # Imported this late so that --help works without torch.
    from slowfast.inference.sliding import SlidingOptions

    loaded, about = load(args)
    options = SlidingOptions(args.stride, args.batch, args.workers)
    fps = args.fps or loaded.frame_rate or 30.0
    for video in videos:
        predict(args, loaded, options, video, fps, about)


def videos_in(path: Path) -> Iterator[Path]:
    """The path itself, or the videos in a folder of videos."""
    from slowfast.inference.video_source import VIDEO_SUFFIXES

    inside = (
        sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        if path.is_dir()
        else []
    )
    yield from inside or [path]


def load(args: argparse.Namespace) -> tuple[LoadedModel, dict[str, Any]]:
    """The model, and its description in the predictions."""
    import torch

    from slowfast.engine.checkpoint import last_checkpoint
    from slowfast.inference.loaded_model import load_model
    from slowfast.inference.prompts import load_prompt_model

    checkpoint = args.checkpoint
    if checkpoint is None:
        if args.cfg is None:
            raise UserError("name a --checkpoint, or the --cfg of a run (RUN/config.yaml)")
        checkpoint = last_checkpoint(Path(args.cfg).parent)
        if checkpoint is None:
            raise UserError(f"{Path(args.cfg).parent} holds no checkpoint; name one: --checkpoint")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    about = {"checkpoint": str(checkpoint)}
    if args.prompts:
        return load_prompt_model(checkpoint, args.prompts, cfg=args.cfg, device=device), about
    return load_model(checkpoint, cfg=args.cfg, device=device), about


def predict(
    args: argparse.Namespace,
    loaded: LoadedModel,
    options: SlidingOptions,
    video: Path,
    fps: float,
    about: dict[str, Any],
) -> None:
    """Predict one video and write its files."""
    from slowfast.inference.explain import explain_video, filmstrip
    from slowfast.inference.overlay import write_overlay
    from slowfast.inference.prediction_files import write_prediction
    from slowfast.inference.sliding import predict_video
    from slowfast.inference.video_source import open_video
    from slowfast.utils.files import write_atomically

    source = open_video(video, fps)
    folder = args.out / source.name
    prediction = predict_video(loaded, source, options)
    write_prediction(folder, prediction, args.top, {**about, "fps": fps})
    if args.explain:
        picture = filmstrip(explain_video(loaded, source, prediction))
        write_atomically(folder / "explain.png", lambda file: file.write(picture))
    if not args.no_overlay:
        write_overlay(folder / "overlay.mp4", prediction, source)
    print(f"{video}: {len(prediction)} windows over {prediction.duration_sec:.1f} s -> {folder}")


if __name__ == "__main__":
    run_command(main)
