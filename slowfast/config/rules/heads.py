"""Rules on the number of classes and the names of heads."""

from __future__ import annotations

import re

from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import exo_heads, joint_name

_HEAD_NAME = re.compile(r"[a-z][a-z0-9_]*")


def class_counts(cfg: CfgNode) -> str | None:
    """Every head has at least one class."""
    for section in ("MODEL", "EXO"):
        counts = cfg[section].NUM_CLASSES_LIST
        if any(count < 1 for count in counts):
            return (
                f"{section}.NUM_CLASSES_LIST is {counts}; give the number of classes of each head,"
                " all 1 or more"
            )
    return None


def head_names(cfg: CfgNode) -> str | None:
    """Every head of MODEL and EXO has a valid name."""
    for section in ("MODEL", "EXO"):
        names, counts = cfg[section].HEAD_NAMES, cfg[section].NUM_CLASSES_LIST
        # A model with a single head of MODEL.NUM_CLASSES has no list and does not use the names.
        if section == "MODEL" and not counts:
            continue
        if fix := _head_names_fix(names, counts):
            return f"{section}.HEAD_NAMES is {names} for {section}.NUM_CLASSES_LIST {counts}; {fix}"
    return None


def exo_sets(cfg: CfgNode) -> str | None:
    """Every exo head has a valid and unique name; `exo_sources` checks the rest of EXO.MORE."""
    names = [head.name for head in exo_heads(cfg)]
    for source in exo_sources(cfg)[1:]:
        if fix := _head_names_fix(source.cfg.EXO.HEAD_NAMES, source.cfg.EXO.NUM_CLASSES_LIST):
            return f"EXO.MORE: HEAD_NAMES of {source.name} is {source.cfg.EXO.HEAD_NAMES}; {fix}"
    twice = [name for name in names if names.count(name) > 1]
    return f"two exo heads are called {twice[0]}; change the NAME in EXO.MORE" if twice else None


def _head_names_fix(names: list[str], counts: list[int]) -> str | None:
    if len(names) != len(counts):
        return f"give as many names as sizes ({len(names)} and {len(counts)} now)"
    for name in names:
        if not _HEAD_NAME.fullmatch(name):
            return (
                f"rename {name!r}: a name starts with a lower-case letter, followed by lower-case"
                " letters, digits and underscores"
            )
        if names.count(name) > 1:
            return f"give each head a different name, instead of {name!r} twice"
    if (joint := joint_name(names)) in names:
        return f"rename {joint!r}: that is the name of the joint answer of all heads"
    return None
