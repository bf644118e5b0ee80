#!/usr/bin/env python3
"""Convert a checkpoint: `tools/convert_checkpoint.py IN OUT [--ego-only] [--head NAME]`.

IN: .pyth of SUM-L, Ego-Exo, PySlowFast or this project, .safetensors, Caffe2 .pkl (--type caffe2).
OUT: .pyth or .safetensors, with the weights under published names. With --ego-only it holds what a
test needs, which is half of a SUM-L checkpoint.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse

from slowfast.engine.checkpoints.convert import convert_checkpoint
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import input_option, path_option


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=input_option, metavar="IN", help="checkpoint to read")
    parser.add_argument("target", type=path_option, metavar="OUT", help="file to write")
    parser.add_argument(
        "--ego-only", action="store_true", help="leave out the exo half and the projections"
    )
    parser.add_argument(
        "--head", default="", metavar="NAME", help="new name of the ego head, or OLD=NEW"
    )
    parser.add_argument(
        "--type", default="pytorch", choices=("pytorch", "caffe2"), help="format of IN"
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.target.exists() and not args.force:
        raise UserError(f"{args.target} exists; give another name or --force")
    print(
        convert_checkpoint(
            args.source,
            args.target,
            checkpoint_type=args.type,
            ego_only=args.ego_only,
            head=args.head,
        )
    )


if __name__ == "__main__":
    run_command(main)
