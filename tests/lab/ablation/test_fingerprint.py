"""Changes that make two runs different, and changes that do not."""

import subprocess
import sys

import pytest

from slowfast.config import load_config
from slowfast.lab.ablation.fingerprint import NOT_IN_A_RUN, code_hash, data_files, fingerprint
from slowfast.lab.ablation.plan import read_plan
from tests.commands import SUML_TINY, environment
from tests.file_server import running_server


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "package"
    for name in ("engine/run.py", "lab/plan.py"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("x = 1\n")
    return root


def test_code(package):
    before = code_hash(package)
    (package / "lab/plan.py").write_text("x = 2\n")
    assert code_hash(package) == before
    (package / "engine/run.py").write_text("x = 3\n")
    changed = code_hash(package)
    assert changed != before
    (package / "engine/more.py").write_text("")
    assert code_hash(package) not in (before, changed)


def test_a_run_imports_nothing_that_its_hash_leaves_out():
    loaded = "import sys, slowfast.engine.run; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", loaded], env=environment(), capture_output=True, text=True
    )
    modules = ended.stdout.split()
    assert "slowfast.engine.run" in modules
    for floor in NOT_IN_A_RUN:
        assert not [name for name in modules if name.startswith(f"slowfast.{floor}")]


def test_config_and_data(plan_file, annotations):
    arm = read_plan(plan_file()).arm("plain")
    before = fingerprint(arm.cfg, 1, "c")
    assert fingerprint(arm.cfg, 1, "c") == before
    assert fingerprint(arm.cfg, 2, "c")["config"] != before["config"]
    test_list = annotations / "EPIC_100_validation.csv"
    test_list.write_text(test_list.read_text() + "more\n")
    after = fingerprint(arm.cfg, 1, "c")
    assert after["data"] != before["data"]
    assert after["config"] == before["config"]


def test_what_a_run_starts_from_is_part_of_its_data(plan_file):
    arm = read_plan(plan_file()).arm("better")
    start = {"code": "c", "config": "1", "data": "2"}
    before = fingerprint(arm.cfg, 1, "c", [start])
    assert fingerprint(arm.cfg, 1, "c", [start]) == before
    assert fingerprint(arm.cfg, 1, "c", [start | {"config": "3"}])["data"] != before["data"]
    assert fingerprint(arm.cfg, 1, "c", [start, start])["data"] != before["data"]


LISTS = {"EPIC_100_train.csv", "EPIC_100_validation.csv"}


@pytest.fixture
def roots(tmp_path):
    """Overrides for an ego and an exo set in other layouts."""
    names = ("ego/sample.json", "exo/words.csv", "exo/deep/all.json", "exo/deep/0.JPG", "exo/v.mp4")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    ego, exo = str(tmp_path / "ego/lists"), str(tmp_path / "exo")
    return ["DATA.PATH_TO_DATA_DIR", ego, "EXO.PATH_TO_DATA_DIR", exo]


def test_data_files_of_a_joined_training(roots):
    cfg = load_config(SUML_TINY, [*roots, "EXO.CHECKPOINT_FILE_PATH", "exo.pyth"])
    found = {path.name for path in data_files(cfg)}
    exo = {"words.csv", "all.json"}
    assert found == LISTS | exo | {"sample.json", "pairs.npz", "exo.pyth"}


@pytest.mark.parametrize(
    ("config", "names"),
    [("Ego_tiny", LISTS | {"sample.json"}), ("Exo_tiny", {"words.csv", "all.json"})],
)
def test_data_files_of_one_view_are_its_own_whatever_the_set_is_called(config, names, roots):
    any_set = [part for key in ("TRAIN", "TEST") for part in (f"{key}.DATASET", "mine")]
    cfg = load_config(SUML_TINY.parent / f"{config}.yaml", [*roots, *any_set])
    assert {path.name for path in data_files(cfg)} == names
    # A checkpoint of another arm is part of that arm's fingerprint.
    start = ["TRAIN.CHECKPOINT_FILE_PATH", "{checkpoint:exo}"]
    started = load_config(SUML_TINY.parent / f"{config}.yaml", [*roots, *start])
    assert {path.name for path in data_files(started)} == names


def test_data_files_of_several_lists_and_of_their_other_form(tmp_path, roots):
    """A change of a list that a run reads changes its hash."""
    lists = tmp_path / "ego/lists"
    lists.mkdir()
    for name in ("a.csv", "b.pkl", "EPIC_100_validation.csv"):
        (lists / name).write_text("x")
    overrides = [*roots, "TRAIN.TRAIN_DATA_LIST", "a.csv,b.csv"]
    cfg = load_config(SUML_TINY.parent / "Ego_tiny.yaml", overrides)
    names = {path.name for path in data_files(cfg)}
    assert names == {"a.csv", "b.pkl", "EPIC_100_validation.csv", "sample.json"}
    before = fingerprint(cfg, 1, "c")
    (lists / "b.pkl").write_text("changed")
    assert fingerprint(cfg, 1, "c")["data"] != before["data"]


def test_data_files_by_url(roots, tmp_path, monkeypatch):
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "cache"))
    with running_server() as server:
        pairs, exo = server.add("/pairs.npz", b"p"), server.add("/exo.pyth", b"x")
        for name in LISTS:
            server.add(f"/epic/{name}", b"l")
        overrides = [*roots, "DATA.PATH_TO_DATA_DIR", f"{server.base}/epic"]
        overrides += ["SUML.PAIRS.FILE", pairs, "EXO.CHECKPOINT_FILE_PATH", exo]
        files = data_files(load_config(SUML_TINY, overrides))
    contents = {path.name: path.read_text() for path in files}
    exo_files = {"words.csv": "{}", "all.json": "{}"}
    lists = dict.fromkeys(LISTS, "l")
    assert contents == {**lists, **exo_files, "pairs.npz": "p", "exo.pyth": "x"}


def test_features_are_data(tmp_path, roots):
    places = []
    for view in ("EGO", "EXO"):
        (tmp_path / view).mkdir()
        (tmp_path / view / "f.npz").write_text(view)
        places += [f"FEATURES.{view}", f"['{tmp_path / view}']"]
    keys = ("TRAIN.ON_FEATURES", "True", "MODEL.BACKBONE", "features:4")
    cfg = load_config(SUML_TINY, [*roots, *keys, *places])
    before = fingerprint(cfg, 1, "c")
    (tmp_path / "EXO" / "f.npz").write_text("changed")
    assert fingerprint(cfg, 1, "c")["data"] != before["data"]
