#!/usr/bin/env python3
"""Score a predictions file: `tools/evaluate.py --predictions FILE --annotations LIST`.

Prints the official EPIC-KITCHENS values with intervals and writes them to evaluation.json;
the results.json of a test run stays as it is. Tail classes, unseen participants and
EPIC-KITCHENS-55's training list are found under their public names next to the annotations.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import logging
from dataclasses import replace

from slowfast.datasets.sources.frame_lists import list_paths
from slowfast.datasets.sources.labelled_list import read_labelled_list
from slowfast.evaluation.head_values import check_metrics
from slowfast.evaluation.predictions import for_epic, read_predictions, select
from slowfast.evaluation.results import recognition_results
from slowfast.evaluation.scores import are_probabilities
from slowfast.evaluation.summary import EVALUATION_FILE
from slowfast.evaluation.tables import format_table
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import input_option, path_option
from slowfast.utils.files import write_json
from slowfast.utils.paths import parent

logger = logging.getLogger(__name__)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--predictions", type=input_option, required=True, help="file of a test run (.pkl)"
    )
    parser.add_argument(
        "--annotations",
        type=input_option,
        required=True,
        help="labelled list, .csv or .pkl; several separated by commas",
    )
    parser.add_argument("--tail-verbs", type=input_option, help="CSV with the column verb")
    parser.add_argument("--tail-nouns", type=input_option, help="CSV with the column noun")
    parser.add_argument("--unseen", type=input_option, help="CSV with the column participant_id")
    parser.add_argument(
        "--train-annotations",
        type=input_option,
        help="EPIC-KITCHENS-55's training list (CSV): adds values over its many-shot classes",
    )
    parser.add_argument(
        "--scorer-compat",
        action="store_true",
        help="also with the public scorer's arithmetic (one soft-max over all segments)",
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument(
        "--out", type=path_option, help="default: evaluation.json next to the predictions"
    )
    args = parser.parse_args(argv)
    if args.out is None:
        folder = parent(args.predictions)
        if isinstance(folder, str):
            raise UserError(
                f"--predictions {args.predictions} is a URL; give a local file with --out"
            )
        args.out = folder / EVALUATION_FILE
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    predictions = for_epic(read_predictions(args.predictions), str(args.predictions))
    check_metrics(predictions.heads)
    labelled = read_labelled_list(
        list_paths(".", str(args.annotations)),
        [head.num_classes for head in predictions.heads],
        tail_verbs=args.tail_verbs,
        tail_nouns=args.tail_nouns,
        unseen=args.unseen,
        training=args.train_annotations,
    )
    what = f"{args.predictions} against {args.annotations}"
    predictions = select(predictions, labelled.ids, what)
    for head, scores in predictions.scores.items():
        if are_probabilities(scores):
            logger.warning(
                "%s_output of %s are probabilities; they are scored as logits, as the public "
                "scorer does, which changes actions beyond the first: store their logarithms",
                head,
                args.predictions,
            )
    results = recognition_results(
        predictions.heads,
        list(predictions.scores.values()),
        labelled.labels,
        replace(labelled.protocol, scorer_compat=args.scorer_compat),
        resamples=args.resamples,
    )
    write_json(args.out, results)
    print(format_table(results))
    print(f"results: {args.out}")


if __name__ == "__main__":
    run_command(main)
