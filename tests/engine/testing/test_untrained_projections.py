"""A test of features names the projections that no loss of its config trains."""

import logging

import pytest
import torch

from slowfast.engine.testing.feature_tasks import tested_views as views_under_test
from slowfast.models.published_names import published_state_dict
from tests.engine.tiny_models import tiny_cfg, tiny_model

NO_EXO_TEXT = {"SUML__WEIGHTS__EXO_TEXT": 0.0}
FACTORISED = {"SUML__ALIGN__KIND": "factorised", "SUML__PAIRS__MINING": "factors"}


@pytest.mark.parametrize(
    ("suml", "untrained"),
    [
        ({}, []),
        (NO_EXO_TEXT, []),
        ({**NO_EXO_TEXT, "SUML__ALIGN__KIND": "none"}, ["exo"]),
        ({**NO_EXO_TEXT, "SUML__WEIGHTS__ALIGN": 0.0, "SUML__WEIGHTS__EGO_TEXT": 0.0},
         ["ego", "exo"]),
        ({**NO_EXO_TEXT, **FACTORISED}, ["exo"]),
    ],
    ids=str,
)  # fmt: skip
def test_untrained_projections_are_named(tmp_path, caplog, suml, untrained):
    cfg = tiny_cfg("EgoExoSlowFast", **suml)
    path = tmp_path / "checkpoint.pyth"
    torch.save({"model_state": published_state_dict(tiny_model(cfg))}, path)
    with caplog.at_level(logging.WARNING, "slowfast"):
        views = views_under_test(cfg, {"ego": None, "exo": None}, path, torch.device("cpu"))
    assert [view.name for view in views] == ["ego", "exo"]
    warned = [r.getMessage() for r in caplog.records if "no loss of this config" in r.getMessage()]
    assert [message.split(" projection")[0].split()[-1] for message in warned] == untrained
