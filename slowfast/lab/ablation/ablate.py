"""One ablation from its plan to its tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slowfast.lab.ablation.figure import draw_figure
from slowfast.lab.ablation.fingerprint import code_hash
from slowfast.lab.ablation.lists import write_lists
from slowfast.lab.ablation.outcomes import read_labels, read_outcomes
from slowfast.lab.ablation.plan import Plan
from slowfast.lab.ablation.report import compare, markdown, write_report
from slowfast.lab.ablation.runner import Machine, Runner, locked
from slowfast.lab.ablation.runs import Run, check_unmixed, plan_runs
from slowfast.semantics.build import mine_from_config
from slowfast.utils.paths import optional_path
from slowfast.utils.progress import Display

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """text: the table, as Markdown. failed: runs that ended with an error."""

    text: str
    failed: list[Run]


def ablate(
    plan: Plan,
    out: Path,
    command: Sequence[str],
    display: Display,
    machine: Machine,
    *,
    fresh: bool = False,
    table_only: bool = False,
) -> Result:
    """Run what is not finished below `out` and write the comparison there; see `Runner`.

    fresh: remove runs with another code, config or data instead of refusing them.
    table_only: run nothing.

    Raises: UserError for bad input, for runs with another code, config or data, or if no run has
        finished.
    """
    failed: list[Run] = []
    if table_only:
        runs = plan_runs(plan, out, code_hash())
        check_unmixed(runs, fresh=False)
    else:
        with locked(out) as lock:
            prepare(plan)
            code = code_hash()
            runs = plan_runs(plan, out, code)
            check_unmixed(runs, fresh)
            failed = Runner(runs, command, code, display, machine, lock).run_all()
    outcomes = read_outcomes(plan, runs)
    comparison = compare(plan, outcomes)
    paths = [*write_report(out, comparison, outcomes, runs), *draw_figure(comparison, out)]
    logger.info("wrote %s", ", ".join(str(path) for path in paths))
    for run in failed:
        logger.error("%s failed; see %s", run.name, run.folder)
    return Result(markdown(comparison, runs), failed)


def prepare(plan: Plan) -> None:
    """Write the plan's lists, and mine the pair tables that its arms read and that are missing.

    Raises: UserError for lists without labels, which no arm could be compared on.
    """
    write_lists(plan)
    read_labels(plan)
    for arm in plan.arms:
        if not (arm.cfg.SUML.ENABLE and arm.cfg.TRAIN.ENABLE):
            continue
        table = arm.cfg.SUML.PAIRS.FILE
        if optional_path(table, "SUML.PAIRS.FILE") is None:
            logger.info("%s does not exist: mining it for arm %s", table, arm.name)
            mine_from_config(arm.cfg)
