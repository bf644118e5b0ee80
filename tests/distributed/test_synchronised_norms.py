"""BN.NORM_TYPE sync_batchnorm: two processes take the step of one process on the joined batch."""

from slowfast.models.norms import running_statistics
from slowfast.utils import distributed
from tests.devices import device_of
from tests.distributed.processes import run_in_processes
from tests.engine.tiny_updates import (
    assert_same_gradients,
    batch_of,
    gradients,
    make_update,
    rows_of,
    update_cfg,
)

PAIRS = 3


def step(norm):
    """Gradients, and running statistics after the step, in float64."""
    rank, world = distributed.rank(), distributed.world_size()
    device = device_of(rank)
    cfg = update_cfg(BN__NORM_TYPE=norm, NUM_GPUS=world if device.type == "cuda" else 0)
    update = make_update(cfg, device=device)
    rows = slice(rank * PAIRS, (rank + 1) * PAIRS) if world > 1 else slice(None)
    assert update(rows_of(batch_of(2 * PAIRS), rows).to(device), 0, 0).finite
    statistics = dict(enumerate(running_statistics(update.model)))
    found = {name: x.cpu() for name, x in (gradients(update) | statistics).items()}
    return {name: x.clone() for name, x in found.items()}


def test_two_processes_equal_the_joined_batch():
    expected = step("batchnorm")
    for found in run_in_processes(2, step, "sync_batchnorm"):
        # Sums in another order in float64, through 20 layers that normalise.
        assert_same_gradients(found, expected, 1e-6)
