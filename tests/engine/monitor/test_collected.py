"""Scores of an epoch: which clips count, where they are kept, and what a resume finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from slowfast.config.heads import HeadSpec
from slowfast.engine.monitor.collected import CollectedScores
from slowfast.engine.monitor.epoch_progress import EpochProgress
from slowfast.evaluation.head_values import head_values
from slowfast.evaluation.scores import log_softmax
from slowfast.lab.benchmark.timing import count_waits
from slowfast.utils import distributed
from tests.distributed.processes import run_in_processes
from tests.evaluation.verb_noun import verb_noun_heads

HEADS = verb_noun_heads(5, 7)
MANY = (HeadSpec("label", 157, True),)
STEPS, CLIPS = 6, 4


def step(number: int) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and labels of all clips of a step."""
    draw = torch.Generator().manual_seed(number)
    logits = [torch.randn(CLIPS, head.num_classes, generator=draw) for head in HEADS]
    labels = [torch.randint(-1, head.num_classes, (CLIPS,), generator=draw) for head in HEADS]
    return logits, labels


def collected(numbers: range, rows: slice = slice(None)) -> CollectedScores:
    scores = CollectedScores(HEADS, logits=True)
    for number in numbers:
        logits, labels = step(number)
        scores.add([x[rows] for x in logits], [y[rows] for y in labels], torch.tensor(True))
        if number % 2:
            scores.to_host()
    return scores


def expected(numbers: range) -> dict[str, float]:
    logits, labels = zip(*(step(number) for number in numbers), strict=True)
    return head_values(
        HEADS,
        [torch.cat(x).numpy() for x in zip(*logits, strict=True)],
        [torch.cat(y).numpy() for y in zip(*labels, strict=True)],
    )


def test_values_are_those_of_all_clips() -> None:
    values = collected(range(STEPS)).values()
    assert values == expected(range(STEPS))
    assert values["verb_top5"] > 0
    assert values["action_top1"] <= values["verb_top1"]


def test_a_step_that_was_not_finite_does_not_count() -> None:
    scores = collected(range(STEPS))
    logits, labels = step(STEPS)
    logits[0][:] = float("nan")
    scores.add(logits, labels, torch.tensor(False))
    assert scores.values() == expected(range(STEPS))


def test_nothing_collected_or_labelled_gives_no_values() -> None:
    scores = CollectedScores(HEADS, logits=True)
    assert scores.values() == {}
    logits, labels = step(0)
    scores.add(logits, [torch.full_like(y, -1) for y in labels])
    assert scores.values() == {}


def test_what_was_added_may_be_overwritten_afterwards() -> None:
    scores = CollectedScores(HEADS, logits=True)
    for number in range(STEPS):
        logits, labels = step(number)
        scores.add(logits, labels)
        for tensor in (*logits, *labels):
            tensor.zero_()
    assert scores.values() == expected(range(STEPS))


def test_collecting_does_not_wait_for_the_device() -> None:
    scores = CollectedScores(HEADS, logits=True)
    logits, labels = step(0)
    finite = torch.tensor(True)
    assert count_waits(lambda: scores.add(logits, labels, finite), torch.device("cpu")) == {}
    assert count_waits(scores.to_host, torch.device("cpu")) != {}


def test_probabilities_are_scored_like_the_logits_that_they_come_from() -> None:
    from_logits, from_probabilities = (CollectedScores(HEADS, logits=x) for x in (True, False))
    for number in range(STEPS):
        logits, labels = step(number)
        from_logits.add(logits, labels)
        from_probabilities.add([x.softmax(1) for x in logits], labels)
    values = from_logits.values()
    # Float32 probabilities; a soft-max of them would change the calibration by points.
    assert from_probabilities.values() == pytest.approx(values, abs=1e-4)
    confidence = np.exp(log_softmax(step(0)[0][0].softmax(1).numpy()).max(1))
    assert confidence.max() < 0.6


@pytest.mark.parametrize("logits", [True, False])
def test_multi_label_heads_have_mean_average_precision(logits: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    answers = [torch.randn(CLIPS, 157, generator=draw) for _ in range(STEPS)]
    targets = [(torch.rand(CLIPS, 157, generator=draw) < 0.1).float() for _ in range(STEPS)]
    scores = CollectedScores(MANY, logits=logits)
    for x, y in zip(answers, targets, strict=True):
        scores.add([x if logits else x.double().sigmoid()], [y], torch.tensor(True))
    values = scores.values()
    whole = head_values(MANY, [torch.cat(answers).numpy()], [torch.cat(targets).numpy()])
    assert values == pytest.approx(whole)
    assert values["label_mAP"] == values["mAP"] > 0


def test_labels_of_another_kind_are_refused() -> None:
    logits, labels = step(0)
    with pytest.raises(ValueError, match=r"head label takes multi-hot labels, not \(4,\)"):
        CollectedScores(MANY, logits=True).add([torch.zeros(4, 157)], labels[:1])
    with pytest.raises(ValueError, match="head verb takes one class id per clip"):
        CollectedScores(HEADS, logits=True).add(logits, [torch.zeros(4, 5), labels[1]])


def progress_state(numbers: range) -> dict[str, Any]:
    """State of a checkpoint after these steps; each rank has its share of a step's clips."""
    share = CLIPS // distributed.world_size()
    rows = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    progress = EpochProgress(0, HEADS)
    progress.scores = collected(numbers, rows)
    progress.iteration = len(numbers)
    return progress.gathered_state()


def resumed_values(state: dict[str, Any] | None, numbers: range) -> dict[str, float]:
    """Values of an epoch that continues with these steps."""
    share = CLIPS // distributed.world_size()
    rows = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    progress = EpochProgress(0, HEADS)
    if state is not None:
        progress.load_gathered_state(state, torch.device("cpu"))
    for number in numbers:
        logits, labels = step(number)
        progress.scores.add([x[rows] for x in logits], [y[rows] for y in labels])
    return progress.scores.values()


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_a_resume_continues_on_any_number_of_ranks(before: int, after: int) -> None:
    states = run_in_processes(before, progress_state, range(4))
    assert [len(state["ranks"]) for state in states] == [before, 0][:before]
    values = run_in_processes(after, resumed_values, states[0], range(4, STEPS))
    assert all(part == values[0] for part in values)
    # The order of the clips differs, and with it the last bit of a sum.
    assert values[0] == pytest.approx(expected(range(STEPS)), rel=1e-12)


def test_the_state_is_plain_tensors(tmp_path) -> None:
    path = tmp_path / "state.pt"
    torch.save(progress_state(range(3)), path)
    state = torch.load(path, weights_only=True)
    assert resumed_values(state, range(3, STEPS)) == expected(range(STEPS))


def test_top1_of_the_latest_clips_alone() -> None:
    heads = verb_noun_heads(3, 2)
    collected = CollectedScores(heads, logits=True)
    assert collected.latest_top1() == {}
    for verbs in ([0, 0], [1, 2]):
        scores = [torch.eye(3)[verbs], torch.eye(2)[[0, 1]]]
        collected.add(scores, [torch.tensor([0, 2]), torch.tensor([-1, -1])])
        collected.to_host()
    assert collected.latest_top1() == {"verb_top1": 50.0}


def confusions_of(numbers: range) -> dict[str, Any]:
    """Confusions of a rank with its share of the clips of these steps."""
    share = CLIPS // distributed.world_size()
    rows = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    return collected(numbers, rows).confusions()


def test_confusion_matrices_are_of_all_ranks() -> None:
    first, second = run_in_processes(2, confusions_of, range(STEPS))
    assert second == {}
    logits, labels = zip(*(step(number) for number in range(STEPS)), strict=True)
    for position, head in enumerate(HEADS):
        counts = np.zeros((head.num_classes, head.num_classes), np.int64)
        for x, y in zip(logits, labels, strict=True):
            for scores, label in zip(x[position], y[position].tolist(), strict=True):
                if label >= 0:
                    counts[label, int(scores.argmax())] += 1
        np.testing.assert_array_equal(first[head.name], counts)
    assert CollectedScores(MANY, logits=True).confusions() == {}
