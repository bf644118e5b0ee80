"""Given pairs: from a column of a CSV to the pair table and the joined data set."""

from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from slowfast.config.validate import validate
from slowfast.datasets import build_dataset
from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.types import SampleKey
from slowfast.semantics.build import exo_train_annotations, mine_from_config
from slowfast.utils.errors import UserError
from tests.semantics.test_build import add_frames, cfg  # noqa: F401 (a fixture)


@pytest.fixture
def paired(cfg: CfgNode, tmp_path: Path) -> CfgNode:  # noqa: F811
    """Ego 0 with exo 2 and 0, ego 1 with exo 1, the others with none."""
    ids = [segment.segment_id for segment in exo_train_annotations(cfg).segments]
    rows = [("_0", ids[2]), ("_0", ids[0]), ("_1", ids[1]), ("_2", ""), ("_9", "other split")]
    lines = ["narration_id,exo_id", *(f"P01_01{ego},{exo}" for ego, exo in rows)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    cfg.SUML.PAIRS.MODE = "paired"
    cfg.SUML.PAIRS.PAIRED_FILE = str(tmp_path / "pairs.csv")
    return cfg


def test_partners_are_those_of_the_column(paired: CfgNode) -> None:
    add_frames(paired)
    assert mine_from_config(paired).rows_without_pair == 2
    table = PairTable.load(Path(paired.SUML.PAIRS.FILE))
    assert table.indices.tolist() == [[2, 0], [1, -1], [-1, -1], [-1, -1]]
    dataset = build_dataset("ego_exo", paired, "train")
    assert isinstance(dataset, EgoExoDataset)
    assert {dataset.partner(SampleKey(epoch, 0)) for epoch in range(20)} == {0, 2}
    assert {dataset.partner(SampleKey(epoch, 1)) for epoch in range(20)} == {1}


def test_ids_made_of_columns(paired: CfgNode) -> None:
    """An empty cell gives no partner, whatever is written around it."""
    path = Path(paired.SUML.PAIRS.PAIRED_FILE)
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(row.removeprefix("P01_") for row in rows)]))
    prefix = exo_train_annotations(paired).segments[0].segment_id[:1]
    path.write_text(path.read_text().replace(f",{prefix}", ","))
    paired.SUML.PAIRS.PAIRED_COLUMNS = ["P01_{narration_id}", f"{prefix}{{exo_id}}"]
    mine_from_config(paired)
    table = PairTable.load(Path(paired.SUML.PAIRS.FILE))
    assert table.indices.tolist() == [[2, 0], [1, -1], [-1, -1], [-1, -1]]


def test_a_changed_list_needs_a_new_table(paired: CfgNode) -> None:
    add_frames(paired)
    mine_from_config(paired)
    with Path(paired.SUML.PAIRS.PAIRED_FILE).open("a") as file:
        file.write("P01_01_3,\n")
    with pytest.raises(UserError, match=r"mined with partners .* run tools/mine_pairs.py"):
        build_dataset("ego_exo", paired, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("narration_id,exo_id\nP01_01_0,nowhere\n", "line 2 pairs P01_01_0 with 'nowhere', which"),
        ("narration_id,exo\nP01_01_0,x\n", "has no column exo_id, which SUML.PAIRS.PAIRED_COLUMNS"),
        ("narration_id,exo_id\nP01_01_0,\n", "has no partner for any of the 4 ego segments"),
    ],
)
def test_lists_that_do_not_fit(paired: CfgNode, text: str, message: str) -> None:
    Path(paired.SUML.PAIRS.PAIRED_FILE).write_text(text)
    with pytest.raises(UserError, match=message):
        mine_from_config(paired)
    assert not Path(paired.SUML.PAIRS.FILE).exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("SUML.PAIRS.PAIRED_FILE", "", "SUML.PAIRS.PAIRED_FILE is empty; set it to a CSV"),
        ("SUML.PAIRS.PAIRED_COLUMNS", ["exo_id"], "give two columns"),
        ("SUML.ALIGN.KIND", "factorised", "SUML.PAIRS.MODE is paired; set SUML.PAIRS.MODE mined"),
    ],
)
def test_configs_that_lack_something(
    paired: CfgNode, key: str, value: object, message: str
) -> None:
    paired.merge_from_list([key, value])
    with pytest.raises(UserError, match=message):
        validate(paired)
