"""Recognition from one view: verbs and nouns (or one label) of a clip."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from slowfast.datasets.device_transform import DeviceTransform
from slowfast.datasets.types import ClipBatch
from slowfast.models.dropout import reseed_dropout
from slowfast.tasks.base import StepOutput, weighted_sum
from slowfast.utils import distributed
from slowfast.utils.seeding import Stream, integer_seed

Criterion = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


class RecognitionTask:
    """Losses of a model with one view and one or more heads.

    heads: one name per head, for the log ("verb", "noun").
    criterion: (logits per head, labels per head) -> one scalar per head.
    stream: which stream the dropout draws from (EGO_DROPOUT or EXO_DROPOUT).
    """

    def __init__(
        self,
        heads: tuple[str, ...],
        criterion: Criterion,
        transform: DeviceTransform,
        seed: int,
        stream: Stream,
    ) -> None:
        self._heads = heads
        self._criterion = criterion
        self._transform = transform
        self._seed = seed
        self._stream = stream

    def forward(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        logits: list[Tensor] = model(self._transform.clips(batch))
        return logits

    def evaluate(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        return self.forward(model, batch)

    def step(self, model: nn.Module, batch: ClipBatch, epoch: int, iteration: int) -> StepOutput:
        reseed_dropout(model, dropout_seed(self._seed, epoch, iteration, self._stream))
        logits = self.forward(model, batch)
        values = self._criterion(logits, batch.labels)
        losses = dict(zip(self._heads, values, strict=True))
        return StepOutput(
            losses=losses,
            total=weighted_sum(losses, {}),
            logits=[x.detach() for x in logits],
            labels=batch.labels,
        )


def dropout_seed(seed: int, epoch: int, iteration: int, stream: Stream) -> int:
    """The dropout seed of this rank's half of one step, so that a resumed run draws the same."""
    index = iteration * distributed.world_size() + distributed.rank()
    return integer_seed(seed, epoch, index, stream)
