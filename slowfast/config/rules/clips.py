"""Rules on the frames and crops of a clip."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.derived import alpha_of


def slow_frames(cfg: CfgNode) -> str | None:
    """The slow pathway gets a whole number of frames."""
    frames, alpha = cfg.DATA.NUM_FRAMES, alpha_of(cfg, "ego")
    if frames % alpha == 0:
        return None
    return (
        f"DATA.NUM_FRAMES {frames} is not a multiple of SLOWFAST.ALPHA {alpha}; set it to"
        f" {-(-frames // alpha) * alpha}"
    )


def jitter(cfg: CfgNode) -> str | None:
    """The smallest training frame is at least as large as the crop."""
    scales, crop = cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE
    if scales[0] < crop:
        return (
            f"DATA.TRAIN_JITTER_SCALES {scales} begins below DATA.TRAIN_CROP_SIZE {crop}, so the "
            f"crop does not fit; raise the scale to {crop} or lower the crop to {scales[0]}"
        )
    return None
