#!/usr/bin/env python3
"""Export the tested half of a checkpoint: `tools/export.py CHECKPOINT --format FORMAT`.

safetensors holds the weights, for `slowfast.load_model`. torch_export and onnx hold a graph that
takes uint8 RGB frames. Every file holds the preprocessing facts and the class names. It is read
back and compared with the model before it gets its name. A model card is written next to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.paths import input_path, local_path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=input_path, metavar="CHECKPOINT", help="file or URL")
    parser.add_argument(
        "--format", required=True, choices=("safetensors", "torch_export", "onnx"), help="of FILE"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write; default: next to CHECKPOINT"
    )
    parser.add_argument("--cfg", help="YAML file of the model, where CHECKPOINT holds no config")
    parser.add_argument("--licence", default="", help="of the weights, for the model card")
    parser.add_argument("--data-licence", default="", help="of the training data, for the card")
    parser.add_argument("--force", action="store_true", help="overwrite FILE and its model card")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="over the config")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    # Imported this late so that --help works without torch.
    from slowfast.inference.export import FORMATS, export
    from slowfast.inference.loaded_model import load_model
    from slowfast.inference.model_card import model_card
    from slowfast.utils.files import write_text

    checkpoint = local_path(args.checkpoint, "CHECKPOINT")
    path = args.out or checkpoint.with_suffix(FORMATS[args.format].suffix)
    card = path.with_name(f"{path.name}.md")
    for file in (path, card):
        if file.exists() and not args.force:
            raise UserError(f"{file} exists; give another --out or --force")
    loaded = load_model(checkpoint, cfg=args.cfg, overrides=args.opts)
    written = export(loaded, args.format, path)
    write_text(card, model_card(loaded, checkpoint, path, args.licence, args.data_licence))
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, model card {card}")
    print(f"read back: probabilities differ from the model's by at most {written.difference:.2g}")


if __name__ == "__main__":
    run_command(main)
