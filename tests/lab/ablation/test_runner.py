"""Starting, resuming, failing, ending and refusing, with a stand-in for the training."""

import json
import os
import signal
import threading
import time

import pytest

from slowfast.config import load_config
from slowfast.lab.ablation.ablate import ablate
from slowfast.lab.ablation.plan import read_plan
from slowfast.lab.ablation.runner import Machine, locked
from slowfast.lab.ablation.runs import plan_runs
from slowfast.utils.errors import UserError


class Lines:
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)

    def show(self, bars):
        pass


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(plan_file, stand_in, out):
    def run(machine=Machine(), **options):  # noqa: B008
        lines = Lines()
        return ablate(read_plan(plan_file()), out, stand_in, lines, machine, **options), lines.said

    return run


def calls(out) -> dict[str, int]:
    return {
        str(path.parent.relative_to(out)): len(path.read_text().splitlines())
        for path in out.rglob("calls")
    }


ALL = {f"{arm}/seed_{seed}" for arm in ("start", "plain", "better") for seed in (1, 2)}


def test_runs_once_and_compares(run, out):
    """Verbs right: plain 1 and 2 of 6, better 3 and 4."""
    result, said = run(machine=Machine(jobs=2))
    assert not result.failed
    assert calls(out) == dict.fromkeys(ALL, 1)
    table = json.loads((out / "table.json").read_text())
    values = {
        (row["arm"], row["reference"], row["kind"]): row["value"]
        for row in table["values"]
        if row["subset"] == "all"
    }
    assert values["plain", "", "verb"] == pytest.approx(25.0)
    assert values["better", "", "noun"] == pytest.approx(100.0)
    assert values["better", "plain", "verb"] == pytest.approx(100 * 2 / 6)
    assert len(values) == 3 * 3
    assert {arm for arm, _, _ in values} == {*table["arms"]} == {"plain", "better"}
    # Seen: segments 0, 1, 2, 5; unseen: 3 and 4. Seed 2 of better hits 0 to 3.
    assert table["segments"] == {"all": 6, "seen": 4, "unseen": 2}
    by_seed = {
        row["seed"]: row["value"]
        for row in table["by_seed"]
        if (row["arm"], row["subset"], row["kind"]) == ("better", "unseen", "verb")
    }
    assert by_seed == {1: 0.0, 2: 50.0}
    for name in ("table.md", "table.tex", "table.csv", "figure.png", "figure.svg"):
        assert (out / name).stat().st_size

    again, said = run()
    assert calls(out) == dict.fromkeys(ALL, 1)
    assert said == ["6 of 6 runs are finished already"]
    assert again.text == result.text


def test_an_arm_starts_from_the_checkpoint_of_its_seed(run, out, content):
    run()
    console = out / "better" / "seed_2"
    assert "the learning rate is 2.0" in (console / "console.txt").read_text()
    started = {name: float((out / name / "calls").read_text()) for name in ALL}
    assert started["start/seed_2"] < started["better/seed_2"]


def test_an_arm_starts_from_two_arms_of_which_one_has_one_seed(run, out, content):
    """As ego weights of its own seed, and exo weights that all seeds share."""
    shared = {"about": "trains once", "seed": 7}
    shared["set"] = {"TEST.ENABLE": False, "SOLVER.BASE_LR": 1}
    content["arms"] = {"shared": shared, **content["arms"]}
    content["arms"]["better"]["set"]["EXO.CHECKPOINT_FILE_PATH"] = "{checkpoint:shared}"
    result, _ = run()
    assert not result.failed
    assert calls(out) == dict.fromkeys((*ALL, "shared/seed_7"), 1)
    console = (out / "better" / "seed_2" / "calls").read_text()
    assert float((out / "shared/seed_7/calls").read_text()) < float(console)
    made = {run.name: run for run in plan_runs(read_plan(out.parent / "toy.yaml"), out, "c")}
    words = made["better seed 2"].overrides
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert "shared/seed_7/" in given["EXO.CHECKPOINT_FILE_PATH"]
    assert "start/seed_2/" in given["TRAIN.CHECKPOINT_FILE_PATH"]


def test_an_arm_reads_the_features_of_its_seed(plan_file, content, tmp_path):
    """Also below a folder whose name has to be quoted, and next to a file of features."""
    given = tmp_path / "given.npz"
    given.write_text("x")
    content["arms"]["start"]["set"] = {"TEST.TASK": "features"}
    content["arms"]["better"]["set"] = {
        "TRAIN.ON_FEATURES": True,
        "MODEL.BACKBONE": "features:8",
        "FEATURES.EGO": ["{features:start}/ego", str(given)],
    }
    plan, out = read_plan(plan_file()), tmp_path / "it's here"
    made = {run.name: run for run in plan_runs(plan, out, "c")}
    better = made["better seed 2"]
    cfg = load_config(plan.base, better.overrides)
    features = out / "start" / "seed_2" / "features" / "ego"
    assert list(cfg.FEATURES.EGO) == [str(features), str(given)]
    assert better.starts == (made["start seed 2"],)
    given.write_text("y")
    again = {run.name: run for run in plan_runs(plan, out, "c")}
    assert again["better seed 2"].made_with["data"] != better.made_with["data"]
    assert again["plain seed 2"].made_with == made["plain seed 2"].made_with


def test_a_failed_run_is_reported_and_others_continue(run, out, content):
    content["arms"]["start"]["set"]["SOLVER.BASE_LR"] = 9
    result, said = run()
    assert {run.name for run in result.failed} == {
        f"{arm} seed {seed}" for arm in ("start", "better") for seed in (1, 2)
    }
    (told,) = [text for text in said if text.startswith("start seed 1: failed")]
    assert "status 1" in told
    assert told.endswith("no such rate")
    assert "better seed 1: not run, as start failed" in said
    assert set(calls(out)) == {name for name in ALL if "better" not in name}
    assert "plain" in result.text
    # Once fixed, the rest runs, and only that.
    content["arms"]["start"]["set"]["SOLVER.BASE_LR"] = 1
    result, _ = run(fresh=True)
    assert not result.failed
    assert calls(out) == dict.fromkeys(ALL, 1)


def test_a_list_without_labels_ends_before_the_first_run(run, out, annotations):
    path = annotations / "EPIC_100_validation.csv"
    path.write_text(path.read_text().replace("verb_class", "verb_id"))
    with pytest.raises(UserError, match="epickitchen: segment P01_11_0 has no verb or noun"):
        run()
    assert not calls(out)


def test_nothing_finished_is_an_error(run, content):
    for arm in content["arms"].values():
        arm["set"]["SOLVER.BASE_LR"] = 9
    with pytest.raises(UserError, match="no run that tests has finished"):
        run()


def test_other_data_or_config_is_refused_and_rerun_on_demand(run, out, content, annotations):
    run()
    content["arms"]["better"]["set"]["SOLVER.MAX_EPOCH"] = 3
    with pytest.raises(UserError) as caught:
        run()
    line = str(caught.value)
    assert "\n" not in line
    assert "2 of 6 runs" in line
    assert "better seed 1 (config), better seed 2 (config)" in line
    assert "--fresh" in line
    with pytest.raises(UserError, match="better seed 1"):
        run(table_only=True)
    run(fresh=True)
    assert calls(out) == dict.fromkeys(ALL, 1)
    # What start was made with is part of what better was made with.
    train_list = annotations / "EPIC_100_train.csv"
    train_list.write_text(train_list.read_text().replace("do it", "do that"))
    with pytest.raises(UserError, match=r"6 of 6 runs .* and 2 more"):
        run()


def test_other_code_is_refused(run, monkeypatch):
    run()
    monkeypatch.setattr("slowfast.lab.ablation.ablate.code_hash", lambda: "new")
    with pytest.raises(UserError, match=r"start seed 1 \(code\)"):
        run(table_only=True)


def test_code_that_changes_meanwhile_ends_the_ablation(run, out, monkeypatch):
    monkeypatch.setattr("slowfast.lab.ablation.ablate.code_hash", lambda: "before")
    with pytest.raises(UserError, match="the code changed"):
        run()
    assert not calls(out)


def test_a_foreign_folder_is_left_alone(run, out):
    foreign = out / "plain" / "seed_1" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with pytest.raises(UserError, match=r"holds files but no ablation\.json"):
        run(fresh=True)
    assert foreign.read_text() == "mine"


def test_a_second_runner_waits_outside(run, out):
    with locked(out), pytest.raises(UserError, match="still running"):
        run()


def test_an_interruption_ends_the_children_and_the_rest_resumes(run, out, content):
    content["arms"]["plain"]["set"]["SOLVER.BASE_LR"] = 8

    def interrupt():
        deadline = time.monotonic() + 60
        while not (out / "plain/seed_1/calls").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    waiter = threading.Thread(target=interrupt)
    waiter.start()
    with pytest.raises(KeyboardInterrupt):
        run()
    waiter.join()
    # The lock is free, so no child is left.
    with locked(out):
        pass
    record = json.loads((out / "plain/seed_1/ablation.json").read_text())
    assert not record["finished"]
    assert record["seconds"] > 0
    assert json.loads((out / "start/seed_1/ablation.json").read_text())["finished"]
    content["arms"]["plain"]["set"]["SOLVER.BASE_LR"] = 1
    run(fresh=True)
    assert calls(out)["start/seed_1"] == 1


def test_jobs_share_threads_and_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Machine(1, 8, 4).share(0) == {"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "8"}
    gpus = [Machine(2, 8, 4).share(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(2)]
    assert gpus == ["0,2", "1,3"]
    gpus = [Machine(3, 2, 2).share(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)]
    assert gpus == ["0", "1", "0"]
    assert Machine(3, 2, 0).share(0) == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    assert Machine(2, 4, 2).share(1)["CUDA_VISIBLE_DEVICES"] == "6"
