"""Shipped and published configs build the published networks, on any machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from torch import nn

from slowfast.config import load_config
from slowfast.models import build_model

EGO_100, EGO_55_R50, DUAL, EXO = 62_820_053, 34_743_973, 126_700_406, 62_110_113
SHIPPED = {
    "epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101.yaml": EGO_100,
    "epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml": DUAL,
    "epic-kitchen-100/published_release.yaml": DUAL,
    "epic-kitchen-55/Ego_Exo_SLOWFAST_8x8_R50.yaml": EGO_55_R50,
    "lemma/SLOWFAST_8x8_R101.yaml": EXO,
}
PUBLISHED = {
    "SUM-L/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101.yaml": EGO_100,
    "SUM-L/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml": DUAL,
    "Ego-Exo/ego-exo/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101.yaml": EGO_100,
    "Ego-Exo/ego-exo/epic-kitchen-100/Ego_Exo_star_SLOWFAST_8x8_R101.yaml": EGO_100,
    "Ego-Exo/ego-exo/epic-kitchen-55/Ego_Exo_SLOWFAST_8x8_R50.yaml": EGO_55_R50,
}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_config_builds_the_network_of_its_paper(root: Path, name: str) -> None:
    assert parameters(build_model(load_config(root / "configs" / name))) == SHIPPED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_file_builds_its_network(golden: Path, tmp_path: Path, name: str) -> None:
    contents = json.loads((golden / "published_config.json").read_text())["yaml"]
    for file in (name, name.replace("star_", "")):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(yaml.safe_dump(contents[file]))
    assert parameters(build_model(load_config(tmp_path / name))) == PUBLISHED[name]


@pytest.mark.parametrize("path", ["sample/Ego_tiny.yaml", "sample/SUML_tiny.yaml"])
def test_sample_config_builds_something_small(root: Path, path: str) -> None:
    assert parameters(build_model(load_config(root / "configs" / path))) < 2_000_000


def test_recipes_take_the_fast_options_unless_a_published_number_depends_on_them(
    root: Path,
) -> None:
    """The sample and its ablation have published numbers, too, bit for bit."""
    configs = root / "configs"
    paths = [p for p in configs.rglob("*.yaml") if p.parent.name not in ("_base_", "ablation")]
    exact = {
        str(path.relative_to(configs))
        for path in paths
        if load_config(path).MODEL.SPEED_OPTIONS == "as_set"
    }
    published = {p for p in exact if "/Ego_Exo_" in p or p.endswith("/published_release.yaml")}
    assert {path.split("/")[0] for path in exact - published} == {"sample"}
    assert len(published) == 7
