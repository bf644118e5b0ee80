"""A label map to edit: the ego class of every exo class, by its words or by the text encoder."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import exo_sources
from slowfast.datasets.pairing.ego_labels import vocabularies
from slowfast.datasets.pairing.label_map import TIER_HEADS, ClassMap, ClassTable, readable, synonyms
from slowfast.semantics.build import encode_narrations, exo_train_annotations
from slowfast.utils.errors import UserError
from slowfast.utils.files import require_free_name, write_text, writing

# The first three are those of SUML.PAIRS.LABEL_MAP; the others help to edit the file.
COLUMNS = ("kind", "exo", "ego_class", "nearest", "similarity")


class Suggestion(NamedTuple):
    """The ego class of one exo class. similarity: cosine; None: the names of the classes agree."""

    exo: str
    ego: int
    similarity: float | None


def write_label_map(cfg: CfgNode, path: Path, threshold: float, exo_set: str = "") -> list[str]:
    """Write a file for SUML.PAIRS.LABEL_MAP with a row for every verb and noun of an exo set.

    A row has an ego class if the names agree, or the cosine of their embeddings is at least the
    threshold. A LABEL_MAP of the config is not read. Returns a line of counts for each head.

    exo_set: NAME of a set of EXO.MORE; empty: EXO.DATASET.

    Raises: UserError for bad input, views without verbs and nouns, and a path that is not writable.
    """
    require_free_name(path)
    if not -1 <= threshold <= 1:
        raise UserError(f"--threshold is {threshold}, but a cosine is between -1 and 1")
    sources = {source.name: source.cfg for source in exo_sources(cfg)}
    if exo_set not in sources:
        raise UserError(f"--exo is {exo_set}, but the names in EXO.MORE are {list(sources)[1:]}")
    cfg = sources[exo_set]
    known = vocabularies(cfg, exo_train_annotations(cfg))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    lines = []
    for head, names, ego, classes in zip(
        TIER_HEADS, known.exo, known.ego, known.maps(), strict=True
    ):
        found = suggest(names, ego, classes, cfg)
        table.writerows(_row(head, one, ego, threshold) for one in found)
        lines.append(_counts(head, found, threshold))
    with writing(path, "choose another --out"):
        write_text(path, text.getvalue())
    return lines


def suggest(
    names: Sequence[str], ego: ClassTable, classes: ClassMap, cfg: CfgNode
) -> list[Suggestion]:
    """The ego class of every exo class, in order: that of `classes`, else the nearest.

    Every synonym of the exo class is compared with the names of the ego classes. Further words of
    an ego class are not used: EPIC-KITCHENS lists thousands, many of them far from the class.
    """
    keys = {number: key for number, key in enumerate(ego.keys) if key}
    # A table may list words without marking one as the name.
    keys = keys or {number: word for word, number in [*ego.ids.items()][::-1]}
    words = [
        (number, word)
        for number, (name, known) in enumerate(zip(names, classes, strict=True))
        if known is None
        for word in synonyms(name)
    ]
    nearest: dict[int, tuple[float, int]] = {}
    if words:
        texts = [readable(word) for _, word in words]
        vectors = encode_narrations([*texts, *map(readable, keys.values())], cfg)
        # (words of exo classes, ego classes).
        similarity = vectors[: len(words)] @ vectors[len(words) :].T
        ids = list(keys)
        for (number, _), row in zip(words, similarity, strict=True):
            best = (float(row.max()), ids[int(row.argmax())])
            nearest[number] = max(nearest.get(number, best), best, key=lambda found: found[0])
    return [
        Suggestion(name, nearest[number][1], nearest[number][0])
        if known is None
        else Suggestion(name, known, None)
        for number, (name, known) in enumerate(zip(names, classes, strict=True))
    ]


def _row(head: str, one: Suggestion, ego: ClassTable, threshold: float) -> tuple[str, ...]:
    key = ego.keys[one.ego] if ego.keys else ""
    if one.similarity is None:
        return head, one.exo, _cell(key, one.ego, ego), key, ""
    close = one.similarity >= threshold
    return (
        *(head, one.exo, _cell(key, one.ego, ego) if close else ""),
        *(key, f"{one.similarity:.2f}"),
    )


def _cell(key: str, number: int, ego: ClassTable) -> str:
    """The key of an ego class, or its number if the key would not select it in a LABEL_MAP."""
    is_read = not key.isdecimal() and ego.ids.get(key.lower()) == number
    return key if is_read else str(number)


def _counts(head: str, found: Sequence[Suggestion], threshold: float) -> str:
    by_words = sum(one.similarity is None for one in found)
    close = sum(one.similarity is not None and one.similarity >= threshold for one in found)
    return (
        f"{len(found)} {head}s: {by_words} by their words, {close} by the text encoder, "
        f"{len(found) - by_words - close} below {threshold:g} without an ego class"
    )
