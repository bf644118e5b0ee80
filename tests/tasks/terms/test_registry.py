"""A new term: the file of docs/extending.md, its weight, and errors without one of them."""

import re
import sys
from types import SimpleNamespace

import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.config.declare import Section, number
from slowfast.config.derived import uses_exo
from slowfast.config.values import Setting, typed
from slowfast.engine.preflight.dry_run import _made_step
from slowfast.tasks import terms
from slowfast.tasks.build import build_training
from slowfast.tasks.terms.registry import (
    TERM_REGISTRY,
    register_term,
    unused_weights,
    weighted_terms,
)
from slowfast.utils.errors import UserError
from slowfast.utils.registry import import_modules
from tests.documented import block
from tests.tasks.test_ego_exo_alignment import ALL_TERMS, paired_batch, tiny_cfg

PAGE_KEY = "_C.SUML.WEIGHTS.EGO_DISTANCE"
NO_OTHER = dict.fromkeys(("WEIGHTS__EXO_CLS", "WEIGHTS__EGO_TEXT", "WEIGHTS__EXO_TEXT"), 0.0)


@pytest.fixture
def entries(monkeypatch):
    """Terms that a test registers end with it."""
    known = {key: TERM_REGISTRY.get(key) for key in TERM_REGISTRY}
    monkeypatch.setattr(TERM_REGISTRY, "_entries", known)
    return known


@pytest.fixture
def new_file(entries, tmp_path, monkeypatch):
    """The documented term, as a file of the folder of terms."""
    text = block("docs/extending.md", "python", "@register_term(")
    (tmp_path / "ego_distance.py").write_text(text)
    monkeypatch.setattr(terms, "__path__", [*terms.__path__, str(tmp_path)])
    import_modules(terms)
    yield
    del sys.modules["slowfast.tasks.terms.ego_distance"]
    del terms.ego_distance


def with_weight(weight, **suml):
    cfg = tiny_cfg(**suml)
    cfg.SUML.WEIGHTS.EGO_DISTANCE = weight
    return cfg


def test_a_new_file_and_its_weight_are_a_new_term(new_file):
    model, task = build_training(with_weight(0.5))
    output = task.step(model.train(), paired_batch(0), 0, 0)
    assert set(output.losses) == ALL_TERMS | {"ego_distance"}
    plain, task_without = build_training(with_weight(0.0))
    plain.load_state_dict(model.state_dict())
    without = task_without.step(plain.train(), paired_batch(0), 0, 0)
    assert set(without.losses) == ALL_TERMS
    expected = without.total + 0.5 * output.losses["ego_distance"]
    torch.testing.assert_close(output.total, expected)
    assert output.counts["ego_cosine"].item() == pytest.approx(
        1 - output.losses["ego_distance"].item(), abs=1e-6
    )


def test_it_is_logged_by_its_name(new_file):
    made = _made_step(with_weight(0.5), torch.device("cpu"), 2)
    assert re.search(r"align \S+, ego_distance \d", made)


def test_it_trains_the_part_that_it_needs(new_file):
    """As the only term: neither exo clips nor the exo half are used."""
    cfg = with_weight(0.5, ALIGN__KIND="none", **NO_OTHER)
    assert not uses_exo(cfg)
    model, task = build_training(cfg)
    batch = paired_batch(0)
    batch.exo.frames = batch.exo.frames[:, :0]
    task.step(model.train(), batch, 0, 0).total.backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"ego", "ego_projection"}


def test_a_term_without_a_weight_is_refused(new_file):
    with pytest.raises(UserError, match=r"add the key SUML\.WEIGHTS\.EGO_DISTANCE to \S+defaults"):
        build_training(tiny_cfg())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_weight_without_a_term_is_refused(weight):
    with pytest.raises(UserError, match=r"SUML\.WEIGHTS 'EGO_DISTANCE' .* choose one of ALIGN"):
        build_training(with_weight(weight))


def test_its_documented_weight_takes_a_fraction():
    """And is in the form of the other declarations."""
    weights = Section()
    declared = {"_C": SimpleNamespace(SUML=SimpleNamespace(WEIGHTS=weights)), "number": number}
    exec(block("docs/extending.md", "python", PAGE_KEY), declared)
    assert (
        typed(Setting("EGO_DISTANCE", "0.5", "command line"), weights.EGO_DISTANCE.default) == 0.5
    )


def test_a_negative_weight_is_refused(new_file):
    with pytest.raises(UserError, match=r"SUML\.WEIGHTS\.EGO_DISTANCE is -0\.5; set it to 0 or"):
        build_training(with_weight(-0.5))


def test_two_losses_of_one_name_are_refused(entries):
    register_term("EGO_AGAIN")(entries["EGO_TEXT"])
    cfg = tiny_cfg()
    cfg.SUML.WEIGHTS.EGO_AGAIN = 0.1
    model, task = build_training(cfg)
    with pytest.raises(UserError, match="two losses are called ego_text"):
        task.step(model.train(), paired_batch(0), 0, 0)


def test_terms_come_in_the_order_of_their_weights():
    assert [entry.key for entry in weighted_terms(tiny_cfg())] == list(get_cfg().SUML.WEIGHTS)
    model, task = build_training(tiny_cfg())
    losses = task.step(model.train(), paired_batch(0), 0, 0).losses
    assert list(losses) == [
        *("ego_verb", "ego_noun", "exo_verb", "exo_noun", "ego_text", "exo_text", "align")
    ]


def test_the_order_survives_a_config_that_is_passed_on_as_text():
    """Processes that are started here get it so, with its keys in alphabetical order."""
    passed_on = CfgNode.load_cfg(tiny_cfg().dump())
    assert list(passed_on.SUML.WEIGHTS) != list(get_cfg().SUML.WEIGHTS)
    assert [entry.key for entry in weighted_terms(passed_on)] == list(get_cfg().SUML.WEIGHTS)


@pytest.mark.parametrize(("key", "reads"), [("EGO_MINE", False), ("MINE", True)])
def test_a_term_reads_exo_clips_unless_its_key_says_ego(key, reads):
    cfg = tiny_cfg(ALIGN__KIND="none", **NO_OTHER)
    cfg.SUML.WEIGHTS[key] = 0.1
    assert uses_exo(cfg) == reads


def test_weights_that_are_not_used_are_named():
    cfg = tiny_cfg(ENABLE=False)
    assert unused_weights(cfg) == ""
    cfg.SUML.WEIGHTS.EXO_CLS = 0.5
    assert unused_weights(cfg).startswith("SUML.WEIGHTS.EXO_CLS 0.5 has no effect")
    cfg.SUML.WEIGHTS.EXO_CLS = 0.0
    assert unused_weights(cfg) == ""
    assert unused_weights(tiny_cfg(WEIGHTS__EXO_CLS=0.5)) == ""
