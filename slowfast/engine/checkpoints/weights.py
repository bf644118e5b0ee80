"""Weights under their published names, each sorted once into the part of a model it belongs to.

A dual model has an ego and an exo half: the names of exo stages end in `_t`, the exo head is
`head_lemma`. A model of the exo view alone has plain stages and the head `readout`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

from slowfast.models.published_names import (
    EXO_HEAD,
    EXO_ONLY_HEAD,
    EXO_PROJECTIONS,
    EXO_SET_HEAD,
    PROJECTIONS,
    published_state_dict,
)
from slowfast.utils.errors import UserError

# Heads of Ego-Exo's auxiliary tasks, which no model here has.
_AUXILIARY_HEADS = frozenset(("handobjhead", "headobjhead"))

_EXO_STAGE_END = "_t"
_HEAD_WEIGHT = re.compile(r"([^.]+)\.projections?(?:\.\d+)?\.(?:weight|bias)")


class Part(NamedTuple):
    """The part of a model that a weight belongs to.

    module: published name of the stage (`s3_fuse_t`), head (`headepic100`) or projection. What is
        neither head nor projection counts as a stage.
    """

    kind: Literal["stage", "head", "projection"]
    module: str

    @property
    def is_exo(self) -> bool:
        """Whether it belongs to the exo half of a dual model."""
        if self.kind == "stage":
            return self.module.endswith(_EXO_STAGE_END)
        if self.module == EXO_HEAD or self.module.startswith(EXO_SET_HEAD):
            return True
        return self.module in EXO_PROJECTIONS.values()


def part_of(name: str) -> Part:
    """Find the part by the published name of a weight."""
    if matched := _HEAD_WEIGHT.fullmatch(name):
        return Part("head", matched[1])
    for projection in PROJECTIONS.values():
        if name.startswith(projection):
            return Part("projection", projection)
    return Part("stage", name.partition(".")[0])


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors by published name, of a file or a model, and the part that each belongs to.

    source: where they come from, for messages. parts: for the same names as `tensors`.
    unwrapped: how many names of the file had the prefix of a wrapper (`module.`), which was
    removed.
    """

    source: str
    tensors: Mapping[str, Tensor]
    parts: Mapping[str, Part]
    unwrapped: int = 0

    @classmethod
    def named(cls, source: str, tensors: Mapping[str, Tensor], unwrapped: int = 0) -> Weights:
        """Sort tensors into parts by their published names."""
        return cls(source, tensors, {name: part_of(name) for name in tensors}, unwrapped)

    @classmethod
    def of_model(cls, model: nn.Module) -> Weights:
        """The weights of a model, by reference rather than copied."""
        return cls.named("the model", published_state_dict(model))

    @property
    def has_exo_half(self) -> bool:
        return any(part.is_exo and part.kind == "stage" for part in self.parts.values())

    @property
    def heads(self) -> list[str]:
        """Names of the classification heads, without the auxiliary ones."""
        return self.heads_among(self.parts)

    def heads_among(self, names: Iterable[str]) -> list[str]:
        """`heads` that these weights belong to, in the order of the names."""
        parts = dict.fromkeys(self.parts[name] for name in names)
        return [
            part.module
            for part in parts
            if part.kind == "head" and part.module not in _AUXILIARY_HEADS
        ]

    def class_counts(self, head: str) -> list[int]:
        """Number of classes of each task of a head."""
        return [
            len(tensor)
            for name, tensor in self.tensors.items()
            if self.parts[name] == Part("head", head) and name.endswith(".weight")
        ]

    @property
    def ego(self) -> Weights:
        """All except the exo half: stages, heads and projections of the ego view."""
        return self._mapped(lambda part: None if part.is_exo else part)

    @property
    def exo(self) -> Weights:
        """The exo half under its own names; empty without one."""
        return self._mapped(lambda part: part if part.is_exo else None)

    @property
    def ego_recognizer(self) -> Weights:
        """The weights that a test of the ego half needs: `ego` without projections."""
        return self.ego._mapped(lambda part: None if part.kind == "projection" else part)

    def as_exo_half(self) -> Weights:
        """The exo half, or else a single backbone with its exo head, under dual names."""
        return self.exo if self.has_exo_half else self._mapped(_into_exo_half)

    def as_exo_only(self) -> Weights:
        """The exo half under the names of a model of the exo view alone."""
        return self._mapped(_out_of_exo_half)

    def with_head(self, old: str, new: str, asked: str) -> Weights:
        """The same weights with head `old` called `new`, in place of a head of that name.

        asked: the setting that names the head. Raises: UserError if there is no such head.
        """
        if old not in self.heads:
            found = ", ".join(self.heads) or "none at all"
            raise UserError(f"{asked}: {self.source} has no head {old}, but {found}")

        def renamed(part: Part) -> Part | None:
            if part == Part("head", old):
                return Part("head", new)
            return None if part == Part("head", new) else part

        return self if old == new else self._mapped(renamed)

    def _mapped(self, change: Callable[[Part], Part | None]) -> Weights:
        """The weights of each part under the name of another part; None leaves them out."""
        tensors, parts = {}, {}
        for name, old in self.parts.items():
            new = change(old)
            if new is not None:
                new_name = new.module + name.removeprefix(old.module)
                tensors[new_name], parts[new_name] = self.tensors[name], new
        return Weights(self.source, tensors, parts, self.unwrapped)


def _into_exo_half(part: Part) -> Part | None:
    if part.kind == "stage":
        return Part("stage", part.module + _EXO_STAGE_END)
    return Part("head", EXO_HEAD) if part == Part("head", EXO_ONLY_HEAD) else None


def _out_of_exo_half(part: Part) -> Part | None:
    if part.kind == "stage" and part.is_exo:
        return Part("stage", part.module.removesuffix(_EXO_STAGE_END))
    return Part("head", EXO_ONLY_HEAD) if part == Part("head", EXO_HEAD) else None
