#!/usr/bin/env python3
"""Write or check the zip of the EPIC-KITCHENS-100 action recognition challenge.

`tools/make_submission.py --predictions FILE --annotations LIST --out ZIP --sls-pt P --sls-tl T
--sls-td D` writes and checks it; `--check ZIP --annotations LIST` checks one. The list is the test
set's, which has no labels.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
from pathlib import Path

from slowfast.datasets.sources.frame_lists import list_paths
from slowfast.datasets.sources.labelled_list import read_listed_segments
from slowfast.evaluation.predictions import read_predictions, select
from slowfast.evaluation.submission import (
    NUM_NOUNS,
    NUM_VERBS,
    SLS_LEVELS,
    SupervisionLevels,
    check_submission,
    write_submission,
)
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import input_option, path_option

SLS_NAMES = {
    "sls_pt": "pre-training: what the model was initialised from",
    "sls_tl": "training labels: the strongest supervision used",
    "sls_td": "training data: how much of it was used",
}
LEVELS_NOTE = """supervision levels, to be declared with every submission:
{levels}

SUM-L trained from Kinetics weights on start and stop times uses --sls-pt 2 --sls-tl 3; its exo
videos are other data, so compare level 5 of sls_td with the challenge's own page first.
"""


def levels_note() -> str:
    lines = []
    for name, meaning in SLS_NAMES.items():
        lines.append(f"  --{name.replace('_', '-')}  {meaning}")
        lines += [f"      {level}  {text}" for level, text in enumerate(SLS_LEVELS[name])]
    return LEVELS_NOTE.format(levels="\n".join(lines))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=levels_note(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--annotations",
        type=input_option,
        required=True,
        help="test list, .csv or .pkl; several separated by commas",
    )
    parser.add_argument("--predictions", type=input_option, help="file of a test run (.pkl)")
    parser.add_argument("--out", type=path_option, help="zip to write")
    parser.add_argument("--check", type=path_option, metavar="ZIP", help="only check this zip")
    for name in SLS_NAMES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="0 to 5, see below")
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    segments, epic_100 = read_listed_segments(
        list_paths(".", str(args.annotations)), (NUM_VERBS, NUM_NOUNS), labelled=False
    )
    if not epic_100:
        raise UserError(
            f"--annotations {args.annotations} is not a list of EPIC-KITCHENS-100; give its test"
            " list"
        )
    ids = [s.segment_id for s in segments]
    path = args.check or write(args, ids)
    levels = check_submission(path, ids)
    print(f"{path}: {len(ids)} segments, {path.stat().st_size / 2**20:.1f} MiB, valid")
    print("\n".join(levels.described()))


def write(args: argparse.Namespace, ids: list[str]) -> Path:
    """The zip of the predictions. Raises: UserError if an argument or a segment is missing."""
    needed = ("predictions", "out", *SLS_NAMES)
    missing = [f"--{name.replace('_', '-')}" for name in needed if getattr(args, name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)} missing (or --check ZIP); --help explains them")
    levels = SupervisionLevels(args.sls_pt, args.sls_tl, args.sls_td)
    predictions = select(
        read_predictions(args.predictions), ids, f"{args.predictions} against {args.annotations}"
    )
    return write_submission(args.out, predictions, levels, args.force)


if __name__ == "__main__":
    run_command(main)
