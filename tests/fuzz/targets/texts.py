"""Text files: lists and tables in CSV, configs and plans in YAML, vocabularies in JSON."""

from __future__ import annotations

from pathlib import Path

from slowfast.config import load_config
from slowfast.datasets.pairing.label_map import build_label_map, read_class_table
from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.datasets.sources.lemma_annotations import _words
from slowfast.datasets.sources.sentences import describe_clips, describe_sentences
from slowfast.evaluation.epic import read_many_shot, read_subsets
from slowfast.lab.ablation.lists import part_text
from slowfast.lab.ablation.plan import PartList, read_plan
from slowfast.lab.ablation.runs import MARKER, read_record
from tests.fuzz import target

_HEADER = (
    "narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb_class,noun_class,"
    "all_noun_classes\n"
)
FRAME_LIST = (
    _HEADER
    + "".join(f'P01_{i},P01,P01_01,{1 + i},{60 + i},open door,3,4,"[4, 5]"\n' for i in range(4))
).encode()
CLASS_TABLE = b"id,key,instances\n0,take,\"['take', 'grab']\"\n1,put,\"['put']\"\n"
OVERRIDE = b"kind,exo,ego_class\nverb,get,take\nnoun,cup,\nverb,lay,1\n"
_CLASSES = [97, 300]


@target("frame_list_csv", ".csv", lambda _: [FRAME_LIST])
def read_list(path: Path) -> object:
    return read_segments(path, epic_100=True, num_classes=_CLASSES, labelled=True)


@target("retrieval_list", ".csv", lambda _: [FRAME_LIST])
def read_retrieval(path: Path) -> object:
    clips = describe_clips([path], read_list(path), 300)  # type: ignore[arg-type]
    return describe_sentences(path, read_list(path), clips)  # type: ignore[arg-type]


@target("subsets", ".csv", lambda _: [b"participant_id,verb\nP01,1\nP02,2\n"])
def read_tail(path: Path) -> object:
    return read_subsets(tail_verbs=path, unseen=path)


@target("many_shot", ".csv", lambda _: [FRAME_LIST])
def read_training_list(path: Path) -> object:
    return read_many_shot(training=path)


@target("class_table", ".csv", lambda _: [CLASS_TABLE])
def read_classes(path: Path) -> object:
    return read_class_table(path)


@target("label_map", ".csv", lambda _: [OVERRIDE])
def read_override(path: Path) -> object:
    table = path.with_name("table.csv")
    table.write_bytes(CLASS_TABLE)
    return build_label_map([["get", "lay"], ["cup"]], [table, table], path)


@target("ablation_list", ".csv", lambda _: [FRAME_LIST, FRAME_LIST + b"\n"])
def read_part(path: Path) -> object:
    return part_text(path, PartList("half.csv", path.name, 2, (0,)))


@target("vocabulary", ".json", lambda _: [b'["get", "put", "null$"]'])
def read_words(path: Path) -> object:
    return _words(path)


def configs(folder: Path) -> list[bytes]:
    (folder / "base.yaml").write_text("SOLVER:\n  BASE_LR: 0.1\n")
    return [
        b"_BASE_: base.yaml\nMODEL:\n  NUM_CLASSES_LIST: [97, 300]\nSOLVER:\n  MAX_EPOCH: 3\n",
        b"TRAIN: &a {BATCH_SIZE: 8}\nTEST: *a\nOUTPUT_DIR: 'x'\nSOLVER.STEPS: '[0, 1]'\n",
    ]


@target("config", ".yaml", configs)
def read_config(path: Path) -> object:
    return load_config(path)


def plans(_: Path) -> list[bytes]:
    base = Path(__file__).parents[3] / "configs" / "sample" / "Ego_tiny.yaml"
    return [
        f"base: {base}\nseeds: [1, 2]\ncompare_to: ego\nlists:\n"
        "  half.csv: {of: train.csv, every: 2, take: [0]}\n"
        "arms:\n  ego: {about: ego, set: {SOLVER.BASE_LR: 0.1}}\n"
        "  more:\n    about: more\n    set:\n"
        "      TRAIN.CHECKPOINT_FILE_PATH: '{checkpoint:ego}'\n".encode()
    ]


@target("plan", ".yaml", plans)
def read_arms(path: Path) -> object:
    return read_plan(path)


@target(
    "run_marker",
    ".json",
    lambda _: [b'{"made_with": {"code": "a", "config": {}}, "finished": true, "seconds": 1.5}'],
)
def read_marker(path: Path) -> object:
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / MARKER).write_bytes(path.read_bytes())
    return read_record(folder)
