"""What limits a training on a machine, from the costs of its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ClipCosts:
    """Milliseconds per training clip.

    decode: decoding alone, of one core. worker: all that a worker does, decoding included.
    transfer: to the GPU, None without one. transform: the device's, beside the model's time.
    model: None where it is not known.
    """

    decode: float
    worker: float
    transform: float
    transfer: float | None = None
    model: float | None = None

    def rates(self, cores: int) -> dict[str, float]:
        """Clips per second of the parts that run side by side, workers on `cores` cores."""
        rates = {"workers": cores * 1e3 / self.worker}
        if self.transfer is not None:
            rates["transfer"] = 1e3 / self.transfer
        if self.model is not None:
            rates["model"] = 1e3 / (self.model + self.transform)
        return rates


def limited_by(costs: ClipCosts, cores: int) -> str:
    """The slowest part: decode, workers, transfer or model.

    Workers that are the slowest are limited by decoding where that is most of their work.
    """
    rates = costs.rates(cores)
    slowest = min(rates, key=lambda part: rates[part])
    if slowest == "workers" and costs.decode > costs.worker / 2:
        return "decode"
    return slowest


_MEND = {
    "decode": "more cores or smaller JPEG files",
    "workers": "more cores, or DATA.RESIZE_ON device where frames are resized",
    "transfer": "DATA_LOADER.PIN_MEMORY, or smaller crops",
    "model": "the GPU is busy all the time",
}


def advice(costs: ClipCosts, cores: int) -> list[str]:
    """Lines for the user: the rates, what limits this machine, the cores that one GPU needs."""
    rates = costs.rates(cores)
    lines = [f"{part}: {rate:.0f} clips/s" for part, rate in rates.items()]
    lines[0] += f" on {cores} core(s), {costs.decode / costs.worker:.0%} of it decoding"
    limit = limited_by(costs, cores)
    lines.append(f"what limits this machine: {limit} ({_MEND[limit]})")
    if costs.model is None:
        lines.append("give --model-clips-per-sec for the cores that one GPU needs")
        return lines
    needed = costs.worker / costs.model
    lines.append(
        f"one GPU of {1e3 / costs.model:.4g} clips/s needs {needed:.1f} core(s) for its workers: "
        f"DATA_LOADER.NUM_WORKERS {math.ceil(needed)}, and a core for its own process"
    )
    return lines
