"""The model that a config trains, together with the task that trains it."""

from __future__ import annotations

from fvcore.common.config import CfgNode
from torch import nn

from slowfast.datasets.from_cfg import device_transform
from slowfast.models.build import build_model
from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.registry import model_spec
from slowfast.tasks.base import Task
from slowfast.tasks.ego_exo_alignment import EgoExoAlignmentTask
from slowfast.tasks.head_losses import HeadLosses
from slowfast.tasks.recognition import RecognitionTask
from slowfast.tasks.terms.base import parts_of
from slowfast.tasks.terms.recognition import ego_recognition
from slowfast.tasks.terms.registry import weighted_terms
from slowfast.tasks.terms.requirements import check_requirements
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream


def build_training(cfg: CfgNode) -> tuple[nn.Module, Task]:
    """SUM-L for a dual model, recognition from one view for every other.

    The model is that of `build_model`, without the parts that no loss needs.

    Raises: UserError if model, data or config lack an input of a SUM-L term.
    """
    spec, model = model_spec(cfg), build_model(cfg)
    if spec.is_dual:
        return model, _suml(cfg, model)
    return model, RecognitionTask(
        HeadLosses(spec.heads(cfg)),
        device_transform(cfg, spec.view),
        cfg.RNG_SEED,
        Stream.EXO_DROPOUT if spec.view == "exo" else Stream.EGO_DROPOUT,
    )


def _suml(cfg: CfgNode, model: nn.Module) -> EgoExoAlignmentTask:
    """Switches off the parts of the model that no term needs."""
    if not isinstance(model, EgoExoModel):
        raise UserError(
            f"MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} is registered with two views, but its builder"
            f" returns a {type(model).__name__}; return an EgoExoModel, or register one view"
        )
    terms = weighted_terms(cfg)
    check_requirements(cfg, model.parts, terms)
    model.use(parts_of(entry.term for entry in terms))
    return EgoExoAlignmentTask(
        ego_recognition(cfg),
        terms,
        device_transform(cfg, "ego"),
        device_transform(cfg, "exo"),
        cfg.RNG_SEED,
    )
