"""Initial weights of a training run: which file gives which half, and what may stay random."""

import logging
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slowfast.engine.checkpoint import load_initial_weights, published_state_dict
from slowfast.engine.checkpoints.weights import part_of
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import assert_same, copied, tiny_cfg, tiny_model

State = dict[str, Tensor]
PROJECTIONS = "global_con_head.fpv_global_proj", "global_con_head.tpv_global_proj"


def _state(name: str, seed: int = 1, **overrides: object) -> State:
    return copied(published_state_dict(tiny_model(tiny_cfg(name, **overrides), seed)))


def _kinetics(seed: int = 1) -> State:
    """A single backbone with a head of one task."""
    return _state("SlowFast", seed, TASK="", MODEL__NUM_CLASSES=400)


class _Started:
    """A model initialised from files, and its weights before."""

    def __init__(
        self, folder: Path, name: str = "EgoExoSlowFast", **states_and_keys: object
    ) -> None:
        keys = {}
        for key, value in states_and_keys.items():
            if isinstance(value, dict):
                path = folder / f"{key.lower()}.pyth"
                torch.save({"model_state": value}, path)
                keys[f"{key}__CHECKPOINT_FILE_PATH"] = str(path)
            else:
                keys[key] = value
        self.model: nn.Module = tiny_model(tiny_cfg(name, **keys), seed=9)
        self.before = copied(published_state_dict(self.model))
        try:
            self.reports = load_initial_weights(self.model, tiny_cfg(name, **keys))
        except UserError:
            assert_same(published_state_dict(self.model), self.before)
            raise
        self.after = published_state_dict(self.model)

    def check(self, expected: State) -> None:
        """Check that these weights were loaded and all others are unchanged."""
        for name, value in self.after.items():
            source = expected if name in expected else self.before
            assert torch.equal(value, source[name]), name


def _backbone(state: State) -> State:
    return {name: value for name, value in state.items() if name.startswith("s")}


def _as_exo(state: State) -> State:
    """A single backbone's weights under the names of the exo half."""
    return {
        ".".join((f"{name.split('.')[0]}_t", *name.split(".")[1:])): value
        for name, value in _backbone(state).items()
    }


def test_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("MultiTaskSlowFast", "EgoExoSlowFast"):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            started = _Started(tmp_path, name)
        assert started.reports == []
        started.check({})
        assert "TRAIN.CHECKPOINT_FILE_PATH is empty" in caplog.text


class TestEgo:
    def test_a_kinetics_file_gives_the_backbone(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        state = _kinetics()
        with caplog.at_level(logging.INFO):
            started = _Started(tmp_path, "MultiTaskSlowFast", TRAIN=state)
        started.check(_backbone(state))
        (report,) = started.reports
        assert report.missing == [n for n in started.after if n.startswith("headepic100")]
        assert report.unexpected == ["head.projection.weight", "head.projection.bias"]
        (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert "headepic100 starts with random weights" in warning
        assert "head " in warning

    def test_a_key_maps_the_head_of_another_task(self, tmp_path: Path) -> None:
        state = _state("MultiTaskSlowFast", TASK="epic")
        started = _Started(
            tmp_path, "MultiTaskSlowFast", TRAIN=state, TRAIN__CHECKPOINT_HEAD="headepic"
        )
        started.check({name.replace("headepic.", "headepic100."): v for name, v in state.items()})

    def test_other_class_counts_under_the_same_name(self, tmp_path: Path) -> None:
        state = _state("MultiTaskSlowFast", MODEL__NUM_CLASSES_LIST=[5, 9])
        with pytest.raises(UserError, match=r"\[5, 9\] classes.*\[5, 7\].*TASK"):
            _Started(tmp_path, "MultiTaskSlowFast", TRAIN=state)
        started = _Started(tmp_path, "MultiTaskSlowFast", TRAIN=state, TASK="mine")
        started.check(_backbone(state))

    @pytest.mark.parametrize("lack", ["s3.pathway0_res0.branch2.b.weight", "s5.", "s2_fuse."])
    def test_a_backbone_with_gaps(self, lack: str, tmp_path: Path) -> None:
        state = {name: value for name, value in _kinetics().items() if not name.startswith(lack)}
        with pytest.raises(UserError, match=r"train\.pyth does not fit the model"):
            _Started(tmp_path, "MultiTaskSlowFast", TRAIN=state)

    def test_a_slow_pathway_alone(self, tmp_path: Path) -> None:
        state = {name: value for name, value in _kinetics().items() if "pathway1" not in name}
        with pytest.raises(UserError, match="RESNET and SLOWFAST"):
            _Started(tmp_path, "MultiTaskSlowFast", TRAIN=state)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        cfg = tiny_cfg(TRAIN__CHECKPOINT_FILE_PATH="ckpts/none.pyth")
        with pytest.raises(UserError, match=r"ckpts/none\.pyth.*TRAIN\.CHECKPOINT_FILE_PATH"):
            load_initial_weights(tiny_model(cfg), cfg)

    def test_a_resnet_of_pictures_is_inflated_into_the_slow_pathway(self, tmp_path: Path) -> None:
        resnet = _torchvision_resnet(width=4)
        started = _Started(
            tmp_path, "MultiTaskSlowFast", TRAIN=resnet, TRAIN__CHECKPOINT_INFLATE=True
        )
        (report,) = started.reports
        stem = started.after["s1.pathway0_stem.conv.weight"]
        assert torch.equal(stem, resnet["conv1.weight"].unsqueeze(2))
        block = started.after["s4.pathway0_res2.branch2.a.weight"]
        assert block.shape[2] == 3
        for frame in range(3):
            assert torch.equal(block[:, :, frame], resnet["layer3.2.conv1.weight"] / 3)
        shortcut = started.after["s2.pathway0_res0.branch1_bn.running_var"]
        assert torch.equal(shortcut, resnet["layer1.0.downsample.1.running_var"])
        # Blocks after a fusion take more channels than a network of pictures has.
        fused = {
            f"s{stage}.pathway0_res0.branch{b}.weight" for stage in (2, 3, 4, 5) for b in (1, "2.a")
        }
        assert set(report.mismatched) == fused
        assert all("pathway1" in n or "fuse" in n or "head" in n for n in report.missing)
        assert len(report.loaded) == len(resnet) - len(fused) - 2
        assert report.unexpected == ["fc.weight", "fc.bias"]


def _torchvision_resnet(width: int) -> State:
    """The names and shapes of a 2-D ResNet-50, random weights."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{leaf}"] = (channels,)

    shapes["conv1.weight"] = (width, 3, 7, 7)
    norm("bn1", width)
    incoming = width
    for layer, blocks in enumerate((3, 4, 6, 3)):
        inner = width * 2**layer
        for block in range(blocks):
            place = f"layer{layer + 1}.{block}"
            shapes[f"{place}.conv1.weight"] = (inner, incoming, 1, 1)
            shapes[f"{place}.conv2.weight"] = (inner, inner, 3, 3)
            shapes[f"{place}.conv3.weight"] = (4 * inner, inner, 1, 1)
            for number, channels in (("1", inner), ("2", inner), ("3", 4 * inner)):
                norm(f"{place}.bn{number}", channels)
            if block == 0:
                shapes[f"{place}.downsample.0.weight"] = (4 * inner, incoming, 1, 1)
                norm(f"{place}.downsample.1", 4 * inner)
            incoming = 4 * inner
    shapes["fc.weight"], shapes["fc.bias"] = (10, incoming), (10,)
    draw = torch.Generator().manual_seed(3)
    return {name: torch.rand(shape, generator=draw) for name, shape in shapes.items()}


class TestDual:
    """The source of the exo half, which the log names."""

    def test_one_single_backbone_starts_both_halves(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        state = _kinetics()
        with caplog.at_level(logging.INFO):
            started = _Started(tmp_path, TRAIN=state)
        started.check({**_backbone(state), **_as_exo(state)})
        assert "exo half: from the backbone of TRAIN.CHECKPOINT_FILE_PATH" in caplog.text

    def test_an_ego_file_gives_its_head_to_the_ego_half_only(self, tmp_path: Path) -> None:
        state = _state("MultiTaskSlowFast")
        _Started(tmp_path, TRAIN=state).check({**state, **_as_exo(state)})

    def test_a_dual_file_gives_everything(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        dual = _state("EgoExoSlowFast")
        with caplog.at_level(logging.INFO):
            started = _Started(tmp_path, TRAIN=dual)
        assert_same(started.after, dual)
        assert "exo half: from the exo weights of TRAIN.CHECKPOINT_FILE_PATH" in caplog.text
        assert [report.unexpected for report in started.reports] == [[], []]

    def test_an_exo_file_and_a_kinetics_file(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        ego, exo = _kinetics(1), _state("ExoSlowFast", 2)
        with caplog.at_level(logging.INFO):
            started = _Started(tmp_path, TRAIN=ego, EXO=exo)
        head = {n.replace("readout.", "head_lemma."): v for n, v in exo.items() if "readout" in n}
        assert len(head) == 4
        started.check({**_backbone(ego), **_as_exo(exo), **head})
        assert "exo half: from EXO.CHECKPOINT_FILE_PATH" in caplog.text

    def test_a_second_kinetics_file_as_exo_file(self, tmp_path: Path) -> None:
        ego, exo = _kinetics(1), _kinetics(2)
        started = _Started(tmp_path, TRAIN=ego, EXO=exo)
        started.check({**_backbone(ego), **_as_exo(exo)})

    def test_the_exo_half_of_a_dual_file_as_exo_file(self, tmp_path: Path) -> None:
        ego, dual = _kinetics(1), _state("EgoExoSlowFast", 2)
        started = _Started(tmp_path, TRAIN=ego, EXO=dual)
        exo = {name: value for name, value in dual.items() if part_of(name).is_exo}
        assert any(name.startswith(PROJECTIONS[1]) for name in exo)
        started.check({**_backbone(ego), **exo})

    def test_the_exo_file_wins_over_the_exo_half_of_the_train_file(self, tmp_path: Path) -> None:
        dual, exo = _state("EgoExoSlowFast", 1), _state("ExoSlowFast", 2)
        started = _Started(tmp_path, TRAIN=dual, EXO=exo)
        ego = {name: value for name, value in dual.items() if not part_of(name).is_exo}
        head = {n.replace("readout.", "head_lemma."): v for n, v in exo.items() if "readout" in n}
        started.check({**ego, **_as_exo(exo), **head})

    def test_an_exo_file_alone(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        exo = _kinetics(2)
        with caplog.at_level(logging.INFO):
            _Started(tmp_path, EXO=exo).check(_as_exo(exo))
        assert "TRAIN.CHECKPOINT_FILE_PATH is empty" in caplog.text

    @pytest.mark.parametrize("section", ["TRAIN", "EXO"])
    def test_a_file_of_another_architecture(self, section: str, tmp_path: Path) -> None:
        other = _state("SlowFast", RESNET__WIDTH_PER_GROUP=8)
        with pytest.raises(UserError, match=rf"{section.lower()}\.pyth does not fit the model"):
            _Started(tmp_path, **{"TRAIN": _kinetics(), section: other})

    def test_exo_class_counts(self, tmp_path: Path) -> None:
        exo = _state("ExoSlowFast", EXO__NUM_CLASSES_LIST=[4, 9])
        with pytest.raises(UserError, match=r"\[4, 9\].*\[4, 6\].*EXO\.NUM_CLASSES_LIST"):
            _Started(tmp_path, TRAIN=_kinetics(), EXO=exo)

    def test_a_missing_exo_file_names_its_key(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"none\.pyth.*EXO\.CHECKPOINT_FILE_PATH"):
            _Started(tmp_path, EXO__CHECKPOINT_FILE_PATH="none.pyth")

    def test_caffe2_files_for_both_halves(self, tmp_path: Path) -> None:
        state, exo = _kinetics(1), _kinetics(2)
        paths = []
        for number, weights in enumerate((state, exo)):
            paths.append(tmp_path / f"{number}.pkl")
            blobs = {_blob(name): value.numpy() for name, value in weights.items() if _blob(name)}
            paths[-1].write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
        started = _Started(
            tmp_path,
            TRAIN__CHECKPOINT_FILE_PATH=str(paths[0]),
            TRAIN__CHECKPOINT_TYPE="caffe2",
            EXO__CHECKPOINT_FILE_PATH=str(paths[1]),
        )
        expected = {**_backbone(state), **_as_exo(exo)}
        started.check({n: v for n, v in expected.items() if not n.endswith("batches_tracked")})


def test_a_model_is_dual_by_its_weights(tmp_path: Path) -> None:
    """The class and the config name of the model do not matter."""
    model = nn.ModuleDict({"s1": nn.Linear(2, 2), "s1_t": nn.Linear(2, 2)})
    weight, bias = torch.rand(2, 2), torch.rand(2)
    torch.save({"s1.weight": weight, "s1.bias": bias}, tmp_path / "a.pyth")
    cfg = tiny_cfg(TRAIN__CHECKPOINT_FILE_PATH=str(tmp_path / "a.pyth"))
    ego, exo = load_initial_weights(model, cfg)
    assert (ego.loaded, exo.loaded) == (
        ["s1.weight", "s1.bias"],
        ["s1_t.weight", "s1_t.bias"],
    )
    for half in model.values():
        assert torch.equal(half.weight, weight)
        assert torch.equal(half.bias, bias)


def test_the_exo_model_starts_from_the_exo_half_of_a_dual_file(tmp_path: Path) -> None:
    dual = _state("EgoExoSlowFast")
    started = _Started(tmp_path, "ExoSlowFast", TRAIN=dual)
    stem = "pathway0_stem.conv.weight"
    assert torch.equal(started.after[f"s1.{stem}"], dual[f"s1_t.{stem}"])
    head = "projections.1.bias"
    assert torch.equal(started.after[f"readout.{head}"], dual[f"head_lemma.{head}"])
    assert started.reports[0].missing == []


def _blob(name: str) -> str:
    """The Caffe2 name of a SlowFast weight, derived independently for this test."""
    stage, *rest = name.split(".")
    leaf = {
        "weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"
    }.get(rest[-1], "")  # fmt: skip
    if not leaf or stage.startswith("head"):
        return ""
    is_norm = "bn" in rest[-2]
    leaf = leaf if is_norm else "w"
    blocks = {"s1": 0, "s2": 3, "s3": 4, "s4": 6, "s5": 3}
    if stage.endswith("_fuse"):
        number = stage[1]
        where = "pool1" if number == "1" else f"res{number}_{blocks[stage[:2]] - 1}_branch2c_bn"
        return f"t_{where}_subsample{'_bn' if is_norm else ''}_{leaf}"
    fast = "t_" if rest[0].startswith("pathway1") else ""
    if stage == "s1":
        return f"{fast}res_conv1_bn_{leaf}" if is_norm else f"{fast}conv1_w"
    block = rest[0].split("res")[1]
    branch = "branch1" if rest[1].startswith("branch1") else f"branch2{rest[2][0]}"
    return f"{fast}res{stage[1]}_{block}_{branch}{'_bn' if is_norm else ''}_{leaf}"
