"""Check of every list, video, label, pair and cache of a config before a long run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.derived import compares_labels
from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import HeadSpec, heads_of
from slowfast.datasets.ego_exo import mining_settings
from slowfast.datasets.features.store import FeatureStore
from slowfast.datasets.frames.missing import missing_collected
from slowfast.datasets.from_cfg import checked_annotations, frames_of
from slowfast.datasets.pairing.ego_labels import label_maps
from slowfast.datasets.pairing.exo_mix import ExoMix
from slowfast.datasets.pairing.label_map import TIER_HEADS, ClassNamesMissing
from slowfast.datasets.pairing.narrations import NarrationTable
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.registry import JOINED_REGISTRY, build_source
from slowfast.datasets.sources.exo_union import union_segments
from slowfast.datasets.types import Annotations, FrameStore, Segment
from slowfast.engine.preflight.clip_checks import check_clips, describe_segments
from slowfast.engine.preflight.findings import Findings
from slowfast.models.registry import model_spec
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.paths import input_path
from slowfast.utils.progress import progress_line

# Name, under OUTPUT_DIR, of the list of bad frames that a deep check writes.
BAD_FRAMES = "bad_frames.txt"


class DataPart(NamedTuple):
    """One list of one view. name: of its data set in `cfg`, which has one exo set at most."""

    title: str
    name: str
    split: str
    view: str
    cfg: CfgNode


class _Checked(NamedTuple):
    part: DataPart
    annotations: Annotations
    frames: FrameStore


def check_data(cfg: CfgNode, *, deep: bool = False) -> Findings:
    """Check everything that the run would read; only a deep check writes a file.

    deep: decode every frame of every segment, in parallel, and write OUTPUT_DIR/bad_frames.txt.
    """
    findings, checked = Findings(), list[_Checked]()
    parts = data_parts(cfg)
    with progress_line("checking", len(parts), "lists") as line:
        for part in parts:
            findings.look(part.title, lambda part=part: _part(findings, part, checked))  # type: ignore[misc]
            line.advance(text=part.title)
    if model_spec(cfg).is_dual and cfg.TRAIN.ENABLE:
        for one in checked:
            if one.part.view == "exo" and one.part.split == "train":
                findings.look(one.part.title, lambda one=one: _label_map(findings, cfg, one))  # type: ignore[misc]
        findings.look("pairs", lambda: _pairs(findings, cfg, checked))
        findings.look("narrations", lambda: _narrations(findings, cfg, checked))
    findings.look("space", lambda: _space(findings, cfg))
    if deep and cfg.TRAIN.ON_FEATURES:
        findings.say("deep", "features are always read whole; there are no frames to decode")
    elif deep:
        findings.look("deep", lambda: _deep(findings, cfg, checked))
    return findings


def data_parts(cfg: CfgNode) -> list[DataPart]:
    """The lists that a run trains, validates and tests on."""
    spec = model_spec(cfg)
    parts = []
    if cfg.TRAIN.ENABLE:
        for view in spec.views:
            title = f"train {view}" if spec.is_dual else "train"
            if view == "exo" and _by_set(cfg):
                for name, alone, _ in exo_sources(cfg):
                    of_set = f"{title} {name or 'EXO'}"
                    parts.append(DataPart(of_set, alone.EXO.DATASET, "train", view, alone))
                continue
            name = _half(cfg, cfg.TRAIN.DATASET, view)
            parts.append(DataPart(title, name, "train", view, cfg))
        name = _half(cfg, cfg.TRAIN.DATASET, spec.view)
        parts.append(DataPart("val", name, "val", spec.view, cfg))
    if cfg.TEST.ENABLE:
        name = _half(cfg, cfg.TEST.DATASET, spec.view)
        parts.append(DataPart("test", name, "test", spec.view, cfg))
    return parts


def _by_set(cfg: CfgNode) -> bool:
    """Whether each of several exo sets is one list. Their features are stored as those of one."""
    return bool(cfg.EXO.MORE) and not cfg.TRAIN.ON_FEATURES


def _half(cfg: CfgNode, name: str, view: str) -> str:
    if name not in JOINED_REGISTRY:
        return name
    return str(cfg.EXO.DATASET if view == "exo" else cfg.EGO.DATASET)


def _heads(cfg: CfgNode, view: str) -> tuple[HeadSpec, ...]:
    spec = model_spec(cfg)
    return spec.heads(cfg) if view == spec.view else heads_of(cfg, view)


def _part(findings: Findings, part: DataPart, checked: list[_Checked]) -> None:
    source = build_source(part.name, part.cfg, part.split, part.view)
    heads = _heads(part.cfg, part.view)
    annotations = checked_annotations(source, heads)
    segments = annotations.segments
    describe_segments(findings, part.title, segments, heads)
    frames = frames_of(source, annotations)
    checked.append(_Checked(part, annotations, frames))
    if isinstance(frames, FeatureStore):
        frames.check(segments)
        findings.say(part.title, f"features of {len(segments)} segments found")
        return
    with missing_collected() as missing:
        frames.check(segments)
    lost = 0
    for videos in missing:
        lost += len(videos.names)
        findings.wrong(part.title, f"no frames for {videos}: {videos.reason}")
    found = len({segment.video_id for segment in segments}) - lost
    findings.say(part.title, f"frames of {found} videos found")
    check_clips(findings, part.title, segments, frames, missing)


def _label_map(findings: Findings, cfg: CfgNode, exo: _Checked) -> None:
    """The exo classes as ego classes, where the run compares labels of the views or of sets."""
    by_label = cfg.SUML.PAIRS.MINING != "text" or (cfg.EXO.MORE and compares_labels(cfg))
    if not by_label or exo.part.cfg.EXO.MORE:
        return
    try:
        maps = label_maps(exo.part.cfg, exo.annotations)
    except ClassNamesMissing as error:
        findings.say(exo.part.title, f"labels are not compared: {error}")
        return
    for head, classes in zip(TIER_HEADS, maps, strict=True):
        known = sum(ego is not None for ego in classes)
        findings.say(exo.part.title, f"{known} of {len(classes)} {head}s have an ego class")


def _pairs(findings: Findings, cfg: CfgNode, checked: list[_Checked]) -> None:
    ego, parts = _training(checked, "ego"), _training(checked, "exo")
    sources = exo_sources(cfg)
    if not ego or len(parts) < (len(sources) if _by_set(cfg) else 1):
        return  # what is wrong with them is known
    exo = union_segments(sources, parts) if _by_set(cfg) else parts[0]
    path = input_path(cfg.SUML.PAIRS.FILE)
    table = PairTable.load(path)
    table.check(path, ego[0], exo, mining_settings(cfg))
    count = int((table.indices >= 0).sum())
    kept = int((table.similarity[table.indices >= 0] > cfg.SUML.ALIGN.THRESHOLD).sum())
    findings.say("pairs", f"{count} in {path}, {kept} above SUML.ALIGN.THRESHOLD")
    if len(sources) > 1:
        findings.say("pairs", ExoMix(sources, exo).counts(table.indices))


def _narrations(findings: Findings, cfg: CfgNode, checked: list[_Checked]) -> None:
    parts = [*_training(checked, "ego"), *_training(checked, "exo")]
    texts = [segment.narration for segments in parts for segment in segments]
    table = NarrationTable.load(cfg.SUML.CACHE_DIR, cfg.SUML.ENCODER, cfg.SUML.EMBED_DIM, texts)
    findings.say("narrations", f"{len(table.vectors)} embeddings in {cfg.SUML.CACHE_DIR}")


def _training(checked: list[_Checked], view: str) -> list[list[Segment]]:
    """Training segments of a view, by set."""
    return [
        one.annotations.segments
        for one in checked
        if one.part.split == "train" and one.part.view == view
    ]


def _space(findings: Findings, cfg: CfgNode) -> None:
    output = Path(cfg.OUTPUT_DIR).absolute()
    existing = next(folder for folder in (output, *output.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    findings.say("space", f"{free / 2**30:.1f} GiB free at OUTPUT_DIR {cfg.OUTPUT_DIR}")
    if Path("/dev/shm").is_dir():
        shared = shutil.disk_usage("/dev/shm").free
        findings.say("space", f"{shared / 2**30:.2f} GiB free in /dev/shm")


def _deep(findings: Findings, cfg: CfgNode, checked: list[_Checked]) -> None:
    """Decode every frame of every segment once, a video at a time in each process."""
    work = [job for part in checked for job in _jobs(part)]
    bad: list[str] = []
    frames = 0
    with (
        ProcessPoolExecutor() as pool,
        progress_line("decoding", len(work), "videos", "decoded %d of %d videos") as line,
    ):
        for count, errors in pool.map(_decode, work):
            frames += count
            bad += errors
            line.advance()
    findings.say("deep", f"{frames} frames decoded, {len(bad)} cannot be read")
    if bad:
        path = Path(cfg.OUTPUT_DIR) / BAD_FRAMES
        write_text(path, "\n".join(bad) + "\n")
        findings.wrong("deep", f"{len(bad)} frames cannot be read; {path} lists them")


def _jobs(part: _Checked) -> Iterator[tuple[FrameStore, list[Segment]]]:
    by_video: dict[str, list[Segment]] = {}
    for segment in part.annotations.segments:
        by_video.setdefault(segment.video_id, []).append(segment)
    for segments in by_video.values():
        yield part.frames, segments


def _decode(job: tuple[FrameStore, list[Segment]]) -> tuple[int, list[str]]:
    """(number of decoded frames, distinct errors) of one video."""
    frames, segments = job
    count, errors = 0, dict[str, None]()
    for segment in segments:
        for number in range(segment.start_frame, segment.stop_frame + 1):
            try:
                count += sum(1 for _ in frames.open(segment).read([number]))
            except UserError as error:
                errors[str(error)] = None
    return count, list(errors)
