"""Content of a plan, and the errors for mistakes in it."""

import pytest

from slowfast.lab.ablation.plan import read_plan
from slowfast.utils.errors import UserError
from tests.commands import CONFIGS

EXO_ONLY = {
    "MODEL.MODEL_NAME": "ExoSlowFast",
    "MODEL.LOSS_FUNC": "bce_logit",
    "TRAIN.DATASET": "lemma",
    "TEST.DATASET": "lemma",
}

DUAL = {
    "MODEL.MODEL_NAME": "EgoExoSlowFast",
    "TRAIN.DATASET": "ego_exo",
    "SUML.ENABLE": True,
}
ON_FEATURES = {"TRAIN.ON_FEATURES": True, "MODEL.BACKBONE": "features:8"}


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        read_plan(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line


def test_a_plan_as_it_is_read(plan_file):
    plan = read_plan(plan_file())
    assert plan.seeds == (1, 2)
    assert [arm.name for arm in plan.arms] == ["start", "plain", "better"]
    assert [arm.name for arm in plan.scored] == ["plain", "better"]
    assert plan.comparisons == (("better", "plain"),)
    better = plan.arm("better")
    assert better.after == ("start",)
    assert better.cfg.SOLVER.BASE_LR == 2
    # Those of all arms come first, so that an arm's own win.
    assert better.overrides[0] == "DATA.PATH_TO_DATA_DIR"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"sedes": [1]}, ["sedes is not a key", "seeds"]),
        ({"seeds": [1, 1]}, ["seeds is [1, 1]"]),
        ({"seeds": []}, ["seeds is []"]),
        ({"compare_to": "start"}, ["compare_to: 'start'", "plain, better"]),
        ({"also_compare": [["better"]]}, ["also_compare"]),
        ({"also_compare": [["better", "none"]]}, ["also_compare: 'none'"]),
        ({"arms": {}}, ["arms is empty"]),
        ({"common": {"SOLVER": {"BASE_LR": 1}}}, ["common.SOLVER is a section"]),
        ({"common": {"SOLVER.BASE_LT": 1}}, ["arms.start", "SOLVER.BASE_LR"]),
        ({"common": {"RNG_SEED": 1}}, ["RNG_SEED is set for every run"]),
        ({"common": {"TEST.SAVE_PREDICT_PATH": ""}}, ["leaves no predictions"]),
        ({"common": {"TEST.TASK": "features"}}, ["compare_to: 'plain'", "TEST.TASK recognition"]),
        ({"common": EXO_ONLY}, ["leaves no predictions", "multi-label heads"]),
        ({"common": {"TRAIN.DATASET": "lemma"}}, ["arms.start", "TRAIN.DATASET"]),
        ({"base": "none.yaml"}, ["none.yaml", "does not exist"]),
        ({"lists": {"a.csv": {"of": "b.csv", "every": 2, "take": [2]}}}, ["lists.a.csv", "every"]),
        ({"lists": {"a.csv": {"of": "a.csv", "every": 2, "take": [1]}}}, ["lists.a.csv", "of:"]),
        ({"lists": {"a.csv": {"of": "b.csv", "take": [1]}}}, ["lists.a.csv.every is missing"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes(plan_file, content, change, parts):
    content.update(change)
    line = refusal(plan_file())
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("arm", "item", "part"),
    [
        ("a/b", {"about": "x"}, "an arm's name is a folder"),
        ("x", {}, "arms.x.about is missing"),
        ("x", {"about": "x", "sets": {}}, "arms.x.sets is not a key; the nearest is set"),
        ("x", {"about": "x", "set": {"TEST.DATA_LIST": "o.csv"}}, "the arms test on 2 lists"),
        (
            "x",
            {"about": "x", "set": {"TRAIN.CHECKPOINT_FILE_PATH": "{checkpoint:y}"}},
            "not one of the arms above it",
        ),
        (
            "x",
            {"about": "x", "set": {**DUAL, "TEST.TASK": "retrieval"}},
            "arms.x leaves no predictions to compare: TEST.TASK is retrieval",
        ),
        (
            "x",
            {"about": "x", "set": {**ON_FEATURES, "FEATURES.EGO": ["{features:plain}/ego"]}},
            "arms.x starts from plain, which extracts no features; set its TEST.TASK to features",
        ),
    ],
)
def test_mistakes_in_an_arm(plan_file, content, arm, item, part):
    content["arms"][arm] = item
    assert part in refusal(plan_file())


def test_features_have_a_folder_for_each_seed(plan_file, content):
    extracting = {"TEST.TASK": "features", "TEST.FEATURES.DIR": "features"}
    content["arms"]["start"]["set"] = extracting
    content["arms"]["better"]["set"] = {**ON_FEATURES, "FEATURES.EGO": ["{features:start}/ego"]}
    assert "starts from start, which has one TEST.FEATURES.DIR for all seeds" in refusal(
        plan_file()
    )
    del extracting["TEST.FEATURES.DIR"]
    plan = read_plan(plan_file())
    assert plan.arm("better").after == ("start",)
    assert [arm.name for arm in plan.scored] == ["plain", "better"]


def test_files_that_are_no_plan(tmp_path):
    path = tmp_path / "toy.yaml"
    assert "a plan in YAML" in refusal(path)
    path.write_text("a: [")
    assert "as a plan in YAML" in refusal(path)
    path.write_text("- a")
    assert "has no" in refusal(path)


def test_an_arm_with_one_seed(plan_file, content):
    content["arms"]["start"]["seed"] = 7
    assert read_plan(plan_file()).arm("start").seed == 7
    content["arms"]["start"]["seed"] = "x"
    assert "arms.start.seed is ['x']" in refusal(plan_file())
    del content["arms"]["start"]["seed"]
    content["arms"]["better"]["seed"] = 7
    assert "arms.better has one seed, but starts from start" in refusal(plan_file())
    content["arms"]["start"]["seed"] = 7
    assert "arms.better has one seed, so it cannot be compared" in refusal(plan_file())


@pytest.mark.parametrize("name", [p.name for p in (CONFIGS / "ablation").glob("*.yaml")])
def test_shipped_plans(name):
    plan = read_plan(CONFIGS / "ablation" / name)
    assert plan.about
    assert f"{plan.base.parent.name}/{plan.base.name}" == "_base_/sample.yaml"


def test_the_experiment_differs_by_what_it_says():
    """Between b and c only the exo terms, between c and d only the alignment."""
    plan = read_plan(CONFIGS / "ablation" / "sample.yaml")
    assert len(plan.seeds) >= 5
    own = {a.name: dict(zip(a.overrides[::2], a.overrides[1::2], strict=True)) for a in plan.arms}
    assert own["d"] == {}
    assert own["c"] == {"SUML.ALIGN.KIND": "none"}
    assert own["b"].keys() - own["c"].keys() == {"SUML.WEIGHTS.EXO_CLS", "SUML.WEIGHTS.EXO_TEXT"}
    assert plan.arm("e").cfg.SUML.PAIRS.SHUFFLE
    assert plan.arm("f").after == ("exo",)


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("sample", "beyond", {"exo", "b", "d", "f"}),
        ("finetune", "finetune_more", {"exo", "ego", "p", "q", "r", "s"}),
        ("finetune", "finetune_options", {"exo", "ego", "q", "r", "s"}),
    ],
)
def test_arms_of_one_name_are_one_run(first, second, shared):
    """So that a plan with the --out of another takes over its runs."""
    plan, other = (read_plan(CONFIGS / "ablation" / f"{name}.yaml") for name in (first, second))
    assert {arm.name for arm in plan.arms} & {arm.name for arm in other.arms} == shared
    for name in shared:
        assert other.arm(name).cfg == plan.arm(name).cfg
        assert other.arm(name).seed == plan.arm(name).seed
    assert set(other.seeds) <= set(plan.seeds)


@pytest.mark.parametrize(
    "name", ["finetune", "finetune_more", "finetune_options", "scratch", "features"]
)
def test_compared_arms_differ_by_what_they_say(name):
    """The same ego steps and the same weights; a shuffled control differs by its pairs alone."""
    plan = read_plan(CONFIGS / "ablation" / f"{name}.yaml")
    cfgs = {arm.name: arm.cfg for arm in plan.scored if arm.name != "ego"}
    steps = {
        (c.TRAIN.TRAIN_DATA_LIST, c.TRAIN.BATCH_SIZE, c.SOLVER.MAX_EPOCH) for c in cfgs.values()
    }
    assert len(steps) == 1
    if name.startswith("finetune"):
        starts = {cfg.TRAIN.CHECKPOINT_FILE_PATH for cfg in cfgs.values()}
        assert starts == {"{checkpoint:ego}"}
    aligned = [
        c.SUML.WEIGHTS for c in cfgs.values() if c.SUML.ENABLE and c.SUML.ALIGN.KIND != "none"
    ]
    assert all(weights == aligned[0] for weights in aligned)
    controls = {"s": "r", "x": "w"} | {f"{arm}_shuffled": arm for arm in cfgs}
    for control in controls.keys() & cfgs.keys():
        cfg = cfgs[controls[control]].clone()
        cfg.defrost()
        cfg.SUML.PAIRS.SHUFFLE, cfg.SUML.ALIGN.THRESHOLD = True, -1.0
        assert cfgs[control] == cfg


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("sample_text_weight", "sample"),
        ("sample_align_weight", "sample"),
        ("finetune_length", "finetune"),
        ("finetune_weight", "finetune"),
    ],
)
def test_a_setting_is_chosen_off_the_test_list(choice, name):
    plan = read_plan(CONFIGS / "ablation" / f"{choice}.yaml")
    experiment = read_plan(CONFIGS / "ablation" / f"{name}.yaml")
    part = {item.name: item for item in plan.lists}
    for arm in plan.arms:
        tested, trained = part[arm.cfg.TEST.DATA_LIST], part[arm.cfg.TRAIN.TRAIN_DATA_LIST]
        assert tested.of == trained.of == "EPIC_100_train.csv"
        assert tested.every == trained.every
        assert not set(tested.take) & set(trained.take)
        assert arm.cfg.TRAIN.VAL_DATA_LIST == arm.cfg.TEST.DATA_LIST
    assert set(plan.seeds).isdisjoint(experiment.seeds)
    assert {arm.cfg.TRAIN.TRAIN_DATA_LIST for arm in experiment.arms if arm.name != "g"} == {
        "EPIC_100_train_half.csv"
    }
