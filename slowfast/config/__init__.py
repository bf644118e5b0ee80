"""Every key of a run: defaults, files and overrides, checks."""

from slowfast.config.defaults import get_cfg
from slowfast.config.load import load_config, log_notes
from slowfast.config.validate import validate

__all__ = ["get_cfg", "load_config", "log_notes", "validate"]
