"""Terms by the key of their weight in SUML.WEIGHTS, and the selection of a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from fvcore.common.config import CfgNode

from slowfast.config.defaults import get_cfg
from slowfast.tasks.terms.base import Term
from slowfast.utils.errors import UserError
from slowfast.utils.registry import Registry

# None: the config switches the term off, whatever its weight is.
Build = Callable[[CfgNode], Term | None]
BuildT = TypeVar("BuildT", bound=Build)

TERM_REGISTRY: Registry[Build] = Registry("term", "SUML.WEIGHTS", package="slowfast.tasks.terms")


class WeightedTerm(NamedTuple):
    """A term that is trained. key: of SUML.WEIGHTS."""

    key: str
    weight: float
    term: Term


def register_term(key: str) -> Callable[[BuildT], BuildT]:
    """Register the builder of the term with the weight SUML.WEIGHTS.`key`."""

    def register(build: BuildT) -> BuildT:
        TERM_REGISTRY.add(key, build)
        return build

    return register


def weighted_terms(cfg: CfgNode) -> list[WeightedTerm]:
    """The terms with a weight above 0, in the order of their keys in `config/defaults.py`.

    Raises: UserError for a weight without a term, a term without a weight, or a negative weight.
    """
    weights = cfg.SUML.WEIGHTS
    if unweighted := [key for key in TERM_REGISTRY if key not in weights]:
        raise UserError(
            f"term {unweighted[0]} has no weight; add the key SUML.WEIGHTS.{unweighted[0]} to"
            " slowfast/config/defaults.py"
        )
    terms = []
    for key in sorted(weights, key=_place()):
        weight = weights[key]
        build = TERM_REGISTRY.get(key)
        if weight < 0:
            raise UserError(f"SUML.WEIGHTS.{key} is {weight:g}; set it to 0 or more")
        if weight > 0 and (term := build(cfg)) is not None:
            terms.append(WeightedTerm(key, weight, term))
    return terms


def unused_weights(cfg: CfgNode) -> str:
    """Warning about weights that were set although SUM-L is not trained; "" without any."""
    defaults = get_cfg().SUML.WEIGHTS
    weights = cfg.SUML.WEIGHTS
    changed = [key for key, weight in weights.items() if weight > 0 and weight != defaults.get(key)]
    if cfg.SUML.ENABLE or not changed:
        return ""
    named = ", ".join(f"SUML.WEIGHTS.{key} {weights[key]:g}" for key in changed)
    return (
        f"{named} has no effect: MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} trains recognition alone;"
        " for SUM-L choose a model of both views and set SUML.ENABLE True"
    )


def _place() -> Callable[[str], tuple[int, str]]:
    """Sort key of the terms: their place among the defaults, then their name.

    Not the order in `cfg`: a config that a process gets as text has its keys in alphabetical order,
    and the sum of the losses must not depend on how a process was started.
    """
    places = {key: place for place, key in enumerate(get_cfg().SUML.WEIGHTS)}
    return lambda key: (places.get(key, len(places)), key)
