"""Rules on the terms and the pseudo-pairs of SUM-L."""

from __future__ import annotations

from fvcore.common.config import CfgNode


def grad_cache(cfg: CfgNode) -> str | None:
    """The gradient cache needs a batch in several parts."""
    if cfg.SUML.GRAD_CACHE and cfg.SOLVER.ACCUMULATE == 1:
        return (
            "SUML.GRAD_CACHE is True, but SOLVER.ACCUMULATE 1 does not split the batch; set"
            " SOLVER.ACCUMULATE to 2 or more, or SUML.GRAD_CACHE False"
        )
    return None


def queue(cfg: CfgNode) -> str | None:
    """The queue needs an alignment loss that uses it."""
    size, kind, weight = cfg.SUML.QUEUE.SIZE, cfg.SUML.ALIGN.KIND, cfg.SUML.WEIGHTS.ALIGN
    if not size or (kind in ("dcl", "dcl_weighted") and weight):
        return None
    return (
        f"SUML.QUEUE.SIZE is {size}, but SUML.ALIGN.KIND {kind} with SUML.WEIGHTS.ALIGN {weight}"
        " does not use the queue; set SUML.QUEUE.SIZE 0, or set SUML.ALIGN.KIND to dcl or"
        " dcl_weighted and SUML.WEIGHTS.ALIGN above 0"
    )


def exo_stream(cfg: CfgNode) -> str | None:
    """The exo stream needs a free clip slot and a term that uses it."""
    suml = cfg.SUML
    if not suml.EXO_STREAM:
        return None
    if suml.ALIGN.KIND == "factorised":
        return (
            "SUML.EXO_STREAM True and SUML.ALIGN.KIND factorised both need the second exo clip;"
            " set SUML.EXO_STREAM False or SUML.ALIGN.KIND dcl"
        )
    if (
        suml.WEIGHTS.EXO_CLS
        or suml.WEIGHTS.EXO_TEXT
        or (suml.WEIGHTS.ALIGN and suml.ALIGN.KIND in ("dcl", "dcl_weighted"))
    ):
        return None
    return (
        "SUML.EXO_STREAM True, but no term of this config uses its clips; set SUML.WEIGHTS.EXO_CLS"
        " or EXO_TEXT above 0, or SUML.EXO_STREAM False"
    )


def paired(cfg: CfgNode) -> str | None:
    """Paired data come from a file with an ego and an exo column."""
    pairs = cfg.SUML.PAIRS
    if pairs.MODE != "paired":
        return None
    if not pairs.PAIRED_FILE:
        return (
            "SUML.PAIRS.MODE is paired, but SUML.PAIRS.PAIRED_FILE is empty; set it to a CSV with"
            f" the columns {pairs.PAIRED_COLUMNS}, or SUML.PAIRS.MODE mined"
        )
    if len(set(pairs.PAIRED_COLUMNS)) != 2 or len(pairs.PAIRED_COLUMNS) != 2:
        return (
            f"SUML.PAIRS.PAIRED_COLUMNS is {pairs.PAIRED_COLUMNS}; give two columns: the ego id "
            "and the exo id"
        )
    if cfg.SUML.ALIGN.KIND == "factorised":
        return (
            "SUML.ALIGN.KIND factorised needs partners by verb and by noun, but SUML.PAIRS.MODE is"
            " paired; set SUML.PAIRS.MODE mined, or another SUML.ALIGN.KIND"
        )
    return None


def factors(cfg: CfgNode) -> str | None:
    """The factorised alignment needs pairs mined by factors."""
    mining = cfg.SUML.PAIRS.MINING
    if cfg.SUML.ALIGN.KIND != "factorised" or mining == "factors":
        return None
    return (
        f"SUML.ALIGN.KIND factorised needs partners by verb and by noun, but SUML.PAIRS.MINING is"
        f" {mining}; set it to factors, and SUML.PAIRS.FILE to a new file"
    )
