#!/usr/bin/env python3
"""One table over runs: `tools/summarize.py RUN [RUN ...]` (folders or results.json files).

Every value with its 95 % interval and its difference to the first run; a difference inside the
noise is marked with ~. If the runs have predictions and their labelled list exists, the noise
comes from a paired bootstrap over the segments, else from both intervals.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import sys
from pathlib import Path

import yaml

from slowfast.datasets.sources.frame_lists import list_paths
from slowfast.datasets.sources.labelled_list import read_labelled_list
from slowfast.evaluation.paired import LabelledList
from slowfast.evaluation.predictions import for_epic, read_predictions
from slowfast.evaluation.report_links import report_links
from slowfast.evaluation.summary import STYLES, Run, format_summary, load_run
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import input_option, path_option
from slowfast.utils.paths import InputPath, optional_path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", type=path_option, nargs="+", metavar="RUN", help="the first is the baseline"
    )
    parser.add_argument("--style", choices=list(STYLES), default="markdown")
    parser.add_argument(
        "--keys", nargs="+", help="values to show; default: the main ones, e.g. verb_top1"
    )
    parser.add_argument(
        "--annotations",
        type=input_option,
        help="labelled list of the runs; default: that of the first run's config.yaml",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    runs = [load_run(run) for run in args.runs]
    try:
        text = format_summary(runs, args.style, args.keys, labelled_list(runs, args.annotations))
    except UserError as error:
        if args.annotations:
            raise
        text = format_summary(runs, args.style, args.keys)
        print(f"no paired bootstrap: {error}", file=sys.stderr)
    print(text)
    if args.style == "markdown":
        folders = [path if path.is_dir() else path.parent for path in map(Path, args.runs)]
        for line in report_links((folder.name, folder) for folder in folders):
            print(line)


def labelled_list(runs: list[Run], given: InputPath | None) -> LabelledList | None:
    """The given list, else that of the first run's config; None without list or predictions."""
    files = [run.predictions for run in runs if run.predictions is not None]
    if len(runs) < 2 or runs[0].predictions is None or len(files) < 2:
        return None
    paths = list_paths(".", str(given)) if given else _lists_of_run(runs[0].predictions.parent)
    if not paths:
        return None
    predictions = for_epic(read_predictions(runs[0].predictions), str(runs[0].predictions))
    return read_labelled_list(paths, [head.num_classes for head in predictions.heads])


def _lists_of_run(folder: Path) -> list[InputPath]:
    config = folder / "config.yaml"
    if not config.is_file():
        return []
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        paths = list_paths(content["DATA"]["PATH_TO_DATA_DIR"], content["TEST"]["DATA_LIST"])
    except (yaml.YAMLError, KeyError, TypeError):
        # Not one of a run.
        return []
    files = [optional_path(path, "DATA.PATH_TO_DATA_DIR") for path in paths]
    return paths if all(files) else []


if __name__ == "__main__":
    run_command(main)
