"""Recognition from one view."""

from __future__ import annotations

from torch import Tensor, nn

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.types import ClipBatch
from slowfast.models.dropout import reseed_dropout
from slowfast.tasks.base import StepOutput, Task, weighted_sum
from slowfast.tasks.head_losses import HeadLosses
from slowfast.utils import distributed
from slowfast.utils.seeding import Stream, integer_seed


class RecognitionTask(Task[ClipBatch, list[Tensor]]):
    """Losses of a model with one view and one or more heads.

    stream: the random stream of the dropout, EGO_DROPOUT or EXO_DROPOUT.
    """

    def __init__(
        self, losses: HeadLosses, transform: DeviceTransform, seed: int, stream: Stream
    ) -> None:
        self._losses = losses
        self._transform = transform
        self._seed = seed
        self._stream = stream

    def seed(
        self, model: nn.Module, epoch: int, iteration: int, chunk: int = 0, chunks: int = 1
    ) -> None:
        seed = dropout_seed(self._seed, epoch, iteration, self._stream, chunk, chunks)
        reseed_dropout(model, seed)

    def forward(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        logits: list[Tensor] = model(self._transform.clips(batch))
        return logits

    def evaluate(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        return self.forward(model, batch)

    def losses(
        self, output: list[Tensor], batch: ClipBatch, epoch: int, iteration: int
    ) -> StepOutput:
        losses = self._losses(output, batch.labels)
        return StepOutput(
            losses=losses,
            total=weighted_sum(losses, {}),
            logits=[x.detach() for x in output],
            labels=batch.labels,
        )


def dropout_seed(
    seed: int, epoch: int, iteration: int, stream: Stream, chunk: int = 0, chunks: int = 1
) -> int:
    """The dropout seed of one chunk of this rank's batch, so that a resumed run draws the same."""
    index = (iteration * distributed.world_size() + distributed.rank()) * chunks + chunk
    return integer_seed(seed, epoch, index, stream)
