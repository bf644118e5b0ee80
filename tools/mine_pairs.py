#!/usr/bin/env python3
"""Mine the pseudo-pairs of a config: `tools/mine_pairs.py --cfg FILE [KEY VALUE ...]`.

Encodes the narrations of the ego and the exo training set into SUML.CACHE_DIR (once), writes the
pair table SUML.PAIRS.FILE, and reports how many pairs pass the threshold and agree in verb and in
noun, their similarities, the best and the worst of them, and which classes are covered. With
--import-json the pairs are not mined but taken from the published file.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import sys

from slowfast.config import load_config
from slowfast.semantics.build import import_from_config, mine_from_config, other_table
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import input_option
from slowfast.utils.logging import setup_logging


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cfg", required=True, help="YAML file or URL")
    parser.add_argument(
        "--import-json", type=input_option, help="published pseudo-pair file to import"
    )
    parser.add_argument(
        "--import-text",
        type=input_option,
        help="published text file that chooses one candidate per row",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite a table that was mined with other settings"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the file")
    args = parser.parse_args()
    if "--force" in args.opts:
        args.opts.remove("--force")
        args.force = True
    return args


def ask(what: str) -> None:
    """Ask on a terminal whether a table may be overwritten. Raises: UserError without a yes."""
    if sys.stdin.isatty() and input(f"{what}; overwrite it? [y/N] ").strip().lower() == "y":
        return
    raise UserError(f"{what}; give --force to overwrite it, or another SUML.PAIRS.FILE")


def main() -> None:
    args = parse_args()
    setup_logging()
    cfg = load_config(args.cfg, args.opts)
    if not args.force and (what := other_table(cfg)):
        ask(what)
    if args.import_json:
        import_from_config(cfg, args.import_json, args.import_text)
    elif args.import_text:
        raise UserError("--import-text chooses among the candidates of --import-json; give both")
    else:
        mine_from_config(cfg)


if __name__ == "__main__":
    run_command(main)
