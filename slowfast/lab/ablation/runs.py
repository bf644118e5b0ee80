"""The runs of a plan on disk: their folders, what they depend on, whether they have finished."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slowfast.lab.ablation.fingerprint import Fingerprint, difference, fingerprint
from slowfast.lab.ablation.plan import Arm, Plan
from slowfast.lab.ablation.references import Reference, given_path, resolved
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_json
from slowfast.utils.reading import reading
from slowfast.utils.text_files import read_json

MARKER = "ablation.json"
_WHAT, _FIX = "the marker of a run", "give another --out"
_SHOWN = 4


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    overrides: complete words `KEY, VALUE, ...` over the base config.
    starts: the runs whose checkpoints or features it starts from.
    """

    arm: Arm
    seed: int
    folder: Path
    overrides: tuple[str, ...]
    made_with: Fingerprint
    starts: tuple[Run, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.arm.name} seed {self.seed}"


@dataclass
class Record:
    """Content of a run's marker. seconds: spent so far, all attempts together."""

    made_with: Fingerprint
    finished: bool = False
    seconds: float = 0.0

    def write(self, folder: Path) -> None:
        write_json(folder / MARKER, self.__dict__)


def plan_runs(plan: Plan, out: Path, code: str) -> list[Run]:
    """Every arm with every seed, or its one seed, seed by seed, so that all arms grow together."""
    runs: dict[tuple[str, int], Run] = {}
    for seed in plan.seeds:
        for arm in plan.arms:
            key = _key(arm, seed)
            if key not in runs:
                starts = tuple(runs[_key(plan.arm(name), seed)] for name in arm.after)
                runs[key] = _run(arm, key[1], out, code, starts)
    return list(runs.values())


def _key(arm: Arm, seed: int) -> tuple[str, int]:
    return arm.name, seed if arm.seed is None else arm.seed


def _run(arm: Arm, seed: int, out: Path, code: str, starts: tuple[Run, ...]) -> Run:
    by_arm = {start.arm.name: start for start in starts}

    def given(reference: Reference) -> Path:
        start = by_arm[reference.arm]
        return given_path(reference.kind, start.arm.cfg, start.folder)

    words = [resolved(word, given) for word in arm.overrides]
    folder = out / arm.name / f"seed_{seed}"
    overrides = (*words, "RNG_SEED", str(seed), "OUTPUT_DIR", str(folder))
    made_with = fingerprint(arm.cfg, seed, code, [start.made_with for start in starts])
    return Run(arm, seed, folder, overrides, made_with, starts)


def read_record(folder: Path) -> Record | None:
    """None if no run has begun. Raises: UserError for a folder with other files."""
    path = folder / MARKER
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} holds files but no {MARKER}; give another --out")
        return None
    content = read_json(path, _WHAT, _FIX)
    with reading(path, _WHAT, _FIX):
        made_with, seconds = dict(content["made_with"]), float(content["seconds"])
        return Record(made_with, bool(content["finished"]), seconds)


def check_unmixed(runs: Sequence[Run], fresh: bool) -> None:
    """Refuse runs on disk with another code, config or data; `fresh` removes them.

    Raises: UserError naming them and what differs.
    """
    stale: list[tuple[Run, list[str]]] = []
    for run in runs:
        record = read_record(run.folder)
        if record is not None and (parts := difference(record.made_with, run.made_with)):
            stale.append((run, parts))
    if not stale:
        return
    if fresh:
        for run, _ in stale:
            shutil.rmtree(run.folder)
        return
    named = ", ".join(f"{run.name} ({' and '.join(parts)})" for run, parts in stale[:_SHOWN])
    more = f" and {len(stale) - _SHOWN} more" if len(stale) > _SHOWN else ""
    raise UserError(
        f"{len(stale)} of {len(runs)} runs in {runs[0].folder.parents[1]} ran with something else "
        f"than now: {named}{more}; give --fresh to run them again, or another --out"
    )
