"""The plan of an ablation: a YAML file of arms over one base config, checked before any work."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.lab.ablation.references import Reference, extracts_features, missing, references
from slowfast.models.registry import model_spec
from slowfast.utils.errors import UserError
from slowfast.utils.expand import expanded
from slowfast.utils.paths import InputPath, join
from slowfast.utils.text_files import read_yaml

_KEYS = ("about", "base", "lists", "seeds", "compare_to", "also_compare", "common", "arms")
_ARM_KEYS = ("about", "seed", "set")
_LIST_KEYS = ("of", "every", "take")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class Arm:
    """One setting of the ablation.

    overrides: `KEY, VALUE, ...` over the base config, those of all arms first.
    references: what the overrides take from other arms.
    cfg: the merged config, without seed and folder; it keeps the references.
    seed: the one seed it is trained with, for arms of every seed to start from; None: every seed.
    """

    name: str
    about: str
    overrides: tuple[str, ...]
    references: tuple[Reference, ...]
    cfg: CfgNode
    seed: int | None = None

    @property
    def after(self) -> tuple[str, ...]:
        """The arms whose runs have to end first."""
        return tuple(dict.fromkeys(reference.arm for reference in self.references))

    @property
    def scored(self) -> bool:
        """False for an arm that only trains or extracts features, for other arms to use."""
        return bool(self.cfg.TEST.ENABLE) and not extracts_features(self.cfg)


@dataclass(frozen=True)
class PartList:
    """A frame list with some videos of another: number modulo `every` is one of `take`."""

    name: str
    of: str
    every: int
    take: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """compare_to: name of the arm that every other one is compared with.

    also_compare: further (arm, reference) pairs of names.
    """

    path: Path
    about: str
    base: InputPath
    lists: tuple[PartList, ...]
    seeds: tuple[int, ...]
    compare_to: str
    also_compare: tuple[tuple[str, str], ...]
    arms: tuple[Arm, ...]

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def scored(self) -> tuple[Arm, ...]:
        return tuple(arm for arm in self.arms if arm.scored)

    @property
    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """(arm, reference) of every difference that is reported, each once."""
        to_base = (
            (arm.name, self.compare_to) for arm in self.scored if arm.name != self.compare_to
        )
        return tuple(dict.fromkeys((*to_base, *self.also_compare)))


def read_plan(path: Path) -> Plan:
    """Read and check a plan and the config of every arm.

    Raises: UserError naming the file, the key and the fix.
    """
    try:
        return _plan(path, _read_yaml(path))
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path, "a plan in YAML", "plans are in configs/ablation/")
    if not isinstance(content, dict):
        raise UserError("has no `key: value` lines")
    _check_keys("", content, _KEYS, required=("base", "seeds", "compare_to", "arms"))
    return content


def _plan(path: Path, content: Mapping[str, Any]) -> Plan:
    base = join(path.parent, expanded(_text("base", content["base"]), f"{path}: base"))
    common = _overrides("common", content.get("common"))
    arms = _section("arms", content["arms"])
    if not arms:
        raise UserError("arms is empty; name one arm or more")
    plan = Plan(
        path=path,
        about=_text("about", content.get("about", "")),
        base=base,
        lists=tuple(
            _part_list(name, item) for name, item in _section("lists", content.get("lists")).items()
        ),
        seeds=_seeds(content["seeds"]),
        compare_to=str(content["compare_to"]),
        also_compare=_pairs(content.get("also_compare", [])),
        arms=tuple(_arm(str(name), item, base, common) for name, item in arms.items()),
    )
    _check_arms(plan)
    return plan


def _arm(name: str, content: Any, base: InputPath, common: tuple[str, ...]) -> Arm:
    where = f"arms.{name}"
    if not _NAME.fullmatch(name):
        raise UserError(f"{where}: an arm's name is a folder; use letters, digits and _ . + -")
    item = _section(where, content)
    _check_keys(where, item, _ARM_KEYS, required=("about",))
    overrides = (*common, *_overrides(f"{where}.set", item.get("set")))
    for key in overrides[::2]:
        if key in ("OUTPUT_DIR", "RNG_SEED"):
            raise UserError(
                f"{where}: {key} is set for every run; remove it (seeds: sets the seed)"
            )
    seed = _seeds([item["seed"]], f"{where}.seed")[0] if "seed" in item else None
    try:
        cfg = load_config(base, overrides)
        validate_run(cfg)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    about = _text(f"{where}.about", item["about"])
    return Arm(name, about, overrides, references(overrides[1::2]), cfg, seed)


def _check_arms(plan: Plan) -> None:
    names = [arm.name for arm in plan.arms]
    for index, arm in enumerate(plan.arms):
        _check_references(plan, arm, names[:index])
        if arm.seed is not None and arm.scored:
            raise UserError(
                f"arms.{arm.name} has one seed, so it cannot be compared over seeds; set "
                "TEST.ENABLE False, or remove its seed"
            )
    scored = [arm.name for arm in plan.scored]
    for key, name in [("compare_to", plan.compare_to)] + [
        ("also_compare", name) for pair in plan.also_compare for name in pair
    ]:
        if name not in scored:
            raise UserError(
                f"{key}: {name!r} has no test to compare; choose one of"
                f" {', '.join(scored) or 'the arms with TEST.TASK recognition'}"
            )
    _check_one_test(plan.scored)
    for arm in plan.scored:
        if reason := _without_predictions(arm.cfg):
            raise UserError(
                f"arms.{arm.name} leaves no predictions to compare: {reason}, or set "
                "TEST.ENABLE False"
            )


def _check_references(plan: Plan, arm: Arm, above: Sequence[str]) -> None:
    """Check that an arm starts from arms above it that write what it reads, for its seeds."""
    for kind, start in arm.references:
        if start not in above:
            raise UserError(
                f"arms.{arm.name} starts from {start!r}, which is not one of the arms above it "
                f"({', '.join(above) or 'none'})"
            )
        if reason := missing(kind, plan.arm(start).cfg):
            raise UserError(f"arms.{arm.name} starts from {start}, which {reason}")
        if arm.seed is not None and plan.arm(start).seed is None:
            raise UserError(
                f"arms.{arm.name} has one seed, but starts from {start}, which has several; "
                f"give {start} a seed too"
            )


def _check_one_test(arms: Sequence[Arm]) -> None:
    """All arms test on the same segments and predict the same heads."""
    lists = {
        (arm.cfg.TEST.DATASET, arm.cfg.DATA.PATH_TO_DATA_DIR, arm.cfg.TEST.DATA_LIST)
        for arm in arms
    }
    if len(lists) > 1:
        raise UserError(
            f"the arms test on {len(lists)} lists ({', '.join(sorted(n for *_, n in lists))}); "
            "set one TEST.DATASET, TEST.DATA_LIST and DATA.PATH_TO_DATA_DIR for all"
        )
    heads = {model_spec(arm.cfg).heads(arm.cfg) for arm in arms}
    if len(heads) > 1:
        raise UserError(
            f"the arms have different heads ({'; '.join(sorted(str(list(h)) for h in heads))}); "
            "set one MODEL.HEAD_NAMES and MODEL.NUM_CLASSES_LIST for all"
        )


def _without_predictions(cfg: CfgNode) -> str:
    """Why a test writes no predictions file, and the fix; empty if it writes one."""
    if not cfg.TEST.SAVE_PREDICT_PATH:
        return "TEST.SAVE_PREDICT_PATH is empty; name a file"
    if cfg.TEST.TASK != "recognition":
        return f"TEST.TASK is {cfg.TEST.TASK}; set it to recognition"
    if any(head.multi_label for head in model_spec(cfg).heads(cfg)):
        return (
            f"MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} with MODEL.LOSS_FUNC {cfg.MODEL.LOSS_FUNC} "
            "has multi-label heads; choose a model that gives one class per head"
        )
    return ""


def _part_list(name: Any, content: Any) -> PartList:
    where = f"lists.{name}"
    item = _section(where, content)
    _check_keys(where, item, _LIST_KEYS, required=_LIST_KEYS)
    every, take = item["every"], item["take"]
    numbers = [every, *take] if isinstance(take, list) and take else [None]
    if any(type(number) is not int for number in numbers) or not (
        every >= 1 and all(0 <= number < every for number in take)
    ):
        raise UserError(f"{where}: give every: K and take: [numbers from 0 to K - 1]")
    source = _text(f"{where}.of", item["of"])
    if Path(str(name)).name != str(name) or "\\" in str(name):
        raise UserError(f"{where}: a list is named by a file name, without folders")
    if "," in str(name) or not str(name).isprintable():
        raise UserError(f"{where!r}: a list is named without commas and control characters")
    if Path(str(name)).suffix != ".csv" or Path(source).suffix != ".csv" or str(name) == source:
        raise UserError(f"{where}: name a new .csv list, and of: another one")
    return PartList(str(name), source, every, tuple(take))


def _seeds(value: Any, where: str = "seeds") -> tuple[int, ...]:
    good = isinstance(value, list) and value and all(type(s) is int and s >= 0 for s in value)
    if not good or len(set(value)) < len(value):
        raise UserError(f"{where} is {value!r}; give different whole numbers such as [1, 2, 3]")
    return tuple(value)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or any(
        not isinstance(pair, list) or len(pair) != 2 for pair in value
    ):
        raise UserError(f"also_compare is {value!r}; give pairs such as [[arm, reference]]")
    return tuple((str(arm), str(reference)) for arm, reference in value)


def _overrides(where: str, value: Any) -> tuple[str, ...]:
    """`KEY: value` lines as the words of a command line."""
    words: list[str] = []
    for key, item in _section(where, value).items():
        if isinstance(item, Mapping):
            raise UserError(
                f"{where}.{key} is a section; write dotted keys (`SOLVER.BASE_LR: 0.1`)"
            )
        words += [str(key), item if isinstance(item, str) else repr(item)]
    return tuple(words)


def _section(where: str, value: Any) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{where} is {value!r}; write `key: value` lines")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or "\n" in value.strip():
        raise UserError(f"{where} is {value!r}; write one line of text")
    return value.strip()


def _check_keys(
    where: str, content: Mapping[Any, Any], known: Sequence[str], required: Sequence[str]
) -> None:
    prefix = f"{where}." if where else ""
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise UserError(
                f"{prefix}{key} is not a key; the nearest is {near} (all: {', '.join(known)})"
            )
    for key in required:
        if key not in content:
            raise UserError(f"{prefix}{key} is missing")
