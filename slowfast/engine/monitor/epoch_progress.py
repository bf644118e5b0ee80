"""Progress of a run within an epoch, and the sums that its log lines are computed from."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch

from slowfast.config.heads import HeadSpec
from slowfast.engine.monitor.collected import CollectedScores
from slowfast.engine.monitor.meters import TensorSums
from slowfast.engine.step.finite import FiniteWatch
from slowfast.utils import distributed


class EpochProgress:
    """Position of the next step, and the state that the next log lines are computed from.

    epoch: zero-based. iteration: finished steps of it.
    window, watch: since the last log line. whole: before it, in this epoch. scores: in this epoch.
    """

    def __init__(self, epoch: int, heads: Sequence[HeadSpec]) -> None:
        self.epoch = epoch
        self.iteration = 0
        self.window = TensorSums()
        self.whole = TensorSums()
        # A model gives logits in training.
        self.scores = CollectedScores(heads, logits=True)
        self.watch = FiniteWatch()

    def close_window(self) -> None:
        self.whole.merge(self.window)
        self.window = TensorSums()

    def gathered_state(self) -> dict[str, Any]:
        """For a checkpoint inside the epoch, on rank 0; called on every rank."""
        return {
            "iteration": self.iteration,
            "ranks": distributed.gather_to_main(
                {
                    "window": self.window.state_dict(),
                    "whole": self.whole.state_dict(),
                    "scores": self.scores.state_dict(),
                    "watch": self.watch.state_dict(),
                }
            ),
        }

    def load_gathered_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Each rank takes its own sums; if their number has changed, the first one takes all.

        Raises: ValueError and other errors for a state that `gathered_state` did not create.
        """
        self.iteration = operator.index(state["iteration"])
        if self.iteration < 0:
            raise ValueError(f"iteration is {self.iteration}")
        ranks = state["ranks"]
        same_ranks = len(ranks) == distributed.world_size()
        own = ranks[distributed.rank() if same_ranks else 0]
        # The steps that did not count are the same ones on every rank.
        self.watch.load_state_dict(own["watch"])
        counted = same_ranks or distributed.is_main()
        for part in [own] if same_ranks else ranks:
            self.window.add_state(part["window"], device, counted)
            self.whole.add_state(part["whole"], device, counted)
            if counted:
                self.scores.add_state(part["scores"])
