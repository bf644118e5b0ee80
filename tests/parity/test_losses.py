"""The contrastive losses on their own equal the stored values and gradients."""

import json

import numpy as np
import pytest
import torch

from slowfast.losses import decoupled_contrastive, view_alignment
from slowfast.losses.alignment import pair_weights, triplet

# Relative. Published DCL and DCL_OS damp the diagonals by exp(-115) where ours (and DCL_2) remove
# them: equal to rounding on rows of norm 1.
FLOAT64 = 1e-12
FLOAT32 = 1e-5


@pytest.fixture(scope="module")
def stored(golden):
    return json.loads((golden / "losses.json").read_text())


@pytest.fixture(scope="module")
def inputs(golden):
    with np.load(golden / "losses_inputs.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def rows_of(inputs, row, dtype=torch.float64):
    """z1, z2 (with gradients), n1, n2 of a stored row."""
    suffix = f"_N{row['N']}_D{row['D']}"
    z1, z2 = (inputs[k + suffix].to(dtype).clone().requires_grad_() for k in ("z1", "z2"))
    return z1, z2, inputs["n1" + suffix].to(dtype), inputs["n2" + suffix].to(dtype)


@pytest.mark.parametrize("loss", ["DCL", "DCL_2", "DCL_OS"])
def test_decoupled_contrastive(stored, inputs, loss):
    cases = [row for row in stored["contrastive"] if row["loss"] == loss]
    assert {row["N"] for row in cases} == {2, 4}
    for row in cases:
        z1, z2, _, _ = rows_of(inputs, row)
        value = decoupled_contrastive(z1, z2, row["temperature"])
        value.backward()
        assert value.item() == pytest.approx(row["float64"], rel=FLOAT64)
        assert z1.grad.norm().item() == pytest.approx(row["grad_z1_norm"], rel=FLOAT64)
        assert z2.grad.norm().item() == pytest.approx(row["grad_z2_norm"], rel=FLOAT64)
        swapped = decoupled_contrastive(z2, z1, row["temperature"])
        assert swapped.item() == pytest.approx(row["float64_swapped"], rel=FLOAT64)


@pytest.mark.parametrize("loss", ["DCL", "DCL_2", "DCL_OS"])
def test_decoupled_contrastive_in_float32(stored, inputs, loss):
    for row in stored["contrastive"]:
        if row["loss"] == loss:
            z1, z2, _, _ = rows_of(inputs, row, torch.float32)
            value = decoupled_contrastive(z1, z2, row["temperature"])
            assert value.item() == pytest.approx(row["float32"], rel=FLOAT32)


def test_two_directions_are_the_view_alignment_of_all_pairs(stored, inputs):
    for row in stored["contrastive"]:
        if row["loss"] == "DCL_OS":
            value = view_alignment(*rows_of(inputs, row), row["temperature"], threshold=-2.0)
            expected = row["float64"] + row["float64_swapped"]
            assert value.item() == pytest.approx(expected, rel=FLOAT64)


def test_weight_function(stored, inputs):
    rows = [row for row in stored["contrastive"] if "weight_fn_n1_n2" in row]
    assert {row["sigma"] for row in rows} == {0.1, 0.5}
    for row in rows:
        _, _, n1, n2 = rows_of(inputs, row)
        every = torch.ones(row["N"], dtype=torch.bool)
        weights = pair_weights((n1 * n2).sum(1), every, row["sigma"])
        np.testing.assert_allclose(weights.numpy(), row["weight_fn_n1_n2"], rtol=FLOAT64)


def test_triplet(stored, inputs):
    z1, z2, _, _ = rows_of(inputs, {"N": 4, "D": 8})
    value = triplet(z1, z2, z1[stored["head"]["randperm4 manual_seed 7"]], margin=0.1)
    expected = stored["head"]["_get_part_triplet_loss(z1,z2) N4 D8 manual_seed 7"]
    assert value.item() == pytest.approx(expected, rel=FLOAT64)
