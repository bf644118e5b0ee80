#!/usr/bin/env python3
"""Score a predictions file: `tools/evaluate.py --predictions FILE --annotations LIST`.

Prints the official EPIC-KITCHENS values with intervals and writes them to results.json. Tail
classes, unseen participants and EPIC-KITCHENS-55's training list are found under their public
names beside the annotations.
"""

import argparse
import logging
from pathlib import Path

from slowfast.datasets.annotations import ID_COLUMN_100, read_segments, read_table
from slowfast.evaluation.epic import read_many_shot, read_subsets
from slowfast.evaluation.files import write_json
from slowfast.evaluation.predictions import read_predictions, select
from slowfast.evaluation.results import recognition_results
from slowfast.evaluation.scores import are_probabilities
from slowfast.evaluation.tables import format_table
from slowfast.utils.cli import run_command

logger = logging.getLogger(__name__)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predictions", type=Path, required=True, help="file of a test run (.pkl)")
    parser.add_argument("--annotations", type=Path, required=True, help="labelled list, .csv, .pkl")
    parser.add_argument("--tail-verbs", type=Path, help="CSV with the column verb")
    parser.add_argument("--tail-nouns", type=Path, help="CSV with the column noun")
    parser.add_argument("--unseen", type=Path, help="CSV with the column participant_id")
    parser.add_argument(
        "--train-annotations",
        type=Path,
        help="EPIC-KITCHENS-55's training list (CSV): adds values over its many-shot classes",
    )
    parser.add_argument(
        "--scorer-compat",
        action="store_true",
        help="also by the public scorer's arithmetic (one soft-max over all segments)",
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--out", type=Path, help="default: results.json beside the predictions")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    predictions = read_predictions(args.predictions)
    num_classes = (predictions.verb_output.shape[1], predictions.noun_output.shape[1])
    table = read_table(args.annotations)
    epic_100 = ID_COLUMN_100 in (*table.columns, table.index.name)
    segments = read_segments(
        args.annotations, epic_100=epic_100, num_classes=num_classes, labelled=True
    )
    ids = [s.segment_id for s in segments]
    predictions = select(predictions, ids, f"{args.predictions} against {args.annotations}")
    for name in ("verb_output", "noun_output"):
        if are_probabilities(getattr(predictions, name)):
            logger.warning(
                "%s of %s are probabilities; they are scored as logits, as the public scorer "
                "does, which changes actions beyond the first: store their logarithms",
                name,
                args.predictions,
            )
    folder = args.annotations.parent
    results = recognition_results(
        [predictions.verb_output, predictions.noun_output],
        [[s.labels[head][0] for s in segments] for head in (0, 1)],
        participants=[s.participant_id for s in segments],
        subsets=read_subsets(
            folder if epic_100 else None,
            tail_verbs=args.tail_verbs,
            tail_nouns=args.tail_nouns,
            unseen=args.unseen,
        ),
        many_shot=None if epic_100 else read_many_shot(folder, args.train_annotations),
        scorer_compat=args.scorer_compat,
        resamples=args.resamples,
    )
    out = args.out or args.predictions.parent / "results.json"
    write_json(out, results)
    print(format_table(results))
    print(f"results: {out}")


if __name__ == "__main__":
    run_command(main)
