"""The exo data sets of a config: the one of EXO, then those of EXO.MORE."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.values import Setting, typed
from slowfast.utils.errors import UserError
from slowfast.utils.expand import expanded

NAME = re.compile(r"[a-z][a-z0-9_]*")
# Keys of EXO that describe clips or the model, so all sources share them.
_SHARED = (
    *("NUM_FRAMES", "SAMPLING_RATE", "CLIP_POSITION", "RANDOM_IN_VALIDATION", "LIGHTING_STD"),
    *("CHANNEL_ORDER", "BACKBONE", "CHECKPOINT_FILE_PATH", "MORE", "WEIGHTS"),
)
_PATHS = ("PATH_TO_DATA_DIR", "PATH_PREFIX", "LABEL_MAP")


class ExoSource(NamedTuple):
    """One exo data set.

    name: prefix of its segments and heads; "" for the set of EXO itself.
    cfg: the config, with this set as its only exo set.
    weight: its share of the drawn exo clips, relative to the others.
    """

    name: str
    cfg: CfgNode
    weight: float


def exo_sources(cfg: CfgNode) -> list[ExoSource]:
    """The exo sets in order: EXO, then EXO.MORE.

    Raises: UserError for an entry of EXO.MORE or weights that are not valid.
    """
    if not cfg.EXO.MORE:
        if cfg.EXO.WEIGHTS:
            raise UserError("EXO.WEIGHTS is set, but EXO.MORE is empty; set EXO.WEIGHTS []")
        return [ExoSource("", cfg, 1.0)]
    weights = _weights(cfg.EXO.WEIGHTS, 1 + len(cfg.EXO.MORE))
    sources = [ExoSource("", _alone(cfg, {}), weights[0])]
    for number, entry in enumerate(cfg.EXO.MORE):
        where = f"EXO.MORE[{number}]"
        if not isinstance(entry, Mapping):
            raise UserError(
                f"{where} is {entry!r}; give a mapping such as {{NAME: wall, DATASET: lemma,"
                " PATH_TO_DATA_DIR: data/wall}"
            )
        name = entry.get("NAME", "")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(
                f"{where}.NAME is {name!r}; give each set a name of lower-case letters, digits and"
                " underscores, which begins with a letter"
            )
        if name in (source.name for source in sources):
            raise UserError(f"EXO.MORE has the name {name} twice; give each set a different NAME")
        sources.append(
            ExoSource(name, _alone(cfg, _values(cfg, entry, where)), weights[number + 1])
        )
    _check_distinct(sources)
    return sources


def more_heads(cfg: CfgNode) -> list[tuple[str, int]]:
    """(name, number of classes) of the heads of EXO.MORE: `NAME_HEAD`, in order."""
    heads = []
    for source in exo_sources(cfg)[1:]:
        exo = source.cfg.EXO
        if len(exo.HEAD_NAMES) != len(exo.NUM_CLASSES_LIST):
            raise UserError(
                f"exo set {source.name} of EXO.MORE has HEAD_NAMES {exo.HEAD_NAMES} and"
                f" NUM_CLASSES_LIST {exo.NUM_CLASSES_LIST}; give as many names as sizes"
            )
        pairs = zip(exo.HEAD_NAMES, exo.NUM_CLASSES_LIST, strict=True)
        heads += [(f"{source.name}_{head}", count) for head, count in pairs]
    return heads


def source_index(identifier: str, names: Sequence[str]) -> int:
    """Position of the source of a segment or video id; `NAME/` begins ids of further sources."""
    prefix, slash, _ = identifier.partition("/")
    return names.index(prefix) if slash and prefix in names else 0


def _alone(cfg: CfgNode, values: Mapping[str, Any]) -> CfgNode:
    alone = cfg.clone()
    alone.defrost()
    alone.EXO.MORE, alone.EXO.WEIGHTS = [], []
    for key, value in values.items():
        if key == "LABEL_MAP":
            alone.SUML.PAIRS.LABEL_MAP = value
        else:
            alone.EXO[key] = value
    alone.freeze()
    return alone


def _values(cfg: CfgNode, entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keys of EXO, and LABEL_MAP, of one set. Raises: UserError for a key it cannot have."""
    # The images of another set are not below the folder of the first one.
    values: dict[str, Any] = {"PATH_PREFIX": "", "LABEL_MAP": ""}
    known = [key for key in cfg.EXO if key not in _SHARED]
    for key, value in entry.items():
        if key == "NAME":
            continue
        if key != "LABEL_MAP" and key not in known:
            reason = "is the same for all exo sets" if key in _SHARED else "is not a key of EXO"
            raise UserError(
                f"{where}.{key}: {key} {reason}; an entry has NAME, LABEL_MAP or {', '.join(known)}"
            )
        setting = Setting(f"{where}.{key}", value, "config")
        values[key] = typed(setting, "" if key == "LABEL_MAP" else cfg.EXO[key])
        if key in _PATHS:
            values[key] = expanded(values[key], setting.where)
    if any(count < 1 for count in values.get("NUM_CLASSES_LIST", ())):
        raise UserError(f"{where}.NUM_CLASSES_LIST is {values['NUM_CLASSES_LIST']}; give 1 or more")
    return values


def _weights(weights: Sequence[Any], count: int) -> list[float]:
    if not weights:
        return [1.0] * count
    if len(weights) != count:
        raise UserError(
            f"EXO.WEIGHTS is {list(weights)}, but there are {count} exo sets; give one weight for"
            " EXO and one for each entry of EXO.MORE"
        )
    for weight in weights:
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (number and math.isfinite(weight) and weight > 0):
            raise UserError(f"EXO.WEIGHTS is {list(weights)}; give numbers above 0")
    return [float(weight) for weight in weights]


def _check_distinct(sources: Sequence[ExoSource]) -> None:
    """Raises: UserError if two sets read the same data."""
    seen: list[tuple[str, dict[str, Any]]] = []
    for name, cfg, _ in sources:
        labels = ("HEAD_NAMES", "NUM_CLASSES_LIST", "PATH_PREFIX")
        data = {key: value for key, value in cfg.EXO.items() if key not in labels}
        for other, same in seen:
            if data == same:
                raise UserError(
                    f"exo set {name} of EXO.MORE reads the same data as {other or 'EXO'}"
                    f" ({cfg.EXO.DATASET} in {cfg.EXO.PATH_TO_DATA_DIR}); change its DATASET or"
                    " PATH_TO_DATA_DIR"
                )
        seen.append((name, data))
