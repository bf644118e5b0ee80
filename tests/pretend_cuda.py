"""A CUDA device for machines without one: CPU tensors that act as CUDA tensors.

Inside `pretend_cuda` the device `cuda:0` exists. Its tensors compute on the CPU, so values,
gradients and optimizers are real. What a real device answers with an error or a wait is an error:

- an operation on tensors of both devices: `MixedDevices`;
- whatever makes the host wait for the device (reading a value, a shape that depends on values, a
  copy from pageable memory): `HostWait`.

Torch's fake tensors cannot replace it: a build of torch without CUDA has no autograd for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing

CUDA = torch.device("cuda", 0)
_CPU = torch.device("cpu")


class MixedDevices(RuntimeError):
    """Tensors of both devices in one operation."""


class HostWait(RuntimeError):
    """The host would wait for the device."""


class CudaTensor(Tensor):
    """A tensor that says it is on CUDA. `on_cpu` is where its values are."""

    on_cpu: Tensor

    @staticmethod
    def __new__(cls, on_cpu: Tensor) -> CudaTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            on_cpu.shape,
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            device=_CPU,
        )
        made.on_cpu = on_cpu
        return made

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    def record_stream(self, stream: Any) -> None:
        """Nothing runs concurrently."""

    def __repr__(self) -> str:
        return f"CudaTensor({self.on_cpu})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tensors: list[Tensor] = []

        def values(x: Any) -> Any:
            if isinstance(x, Tensor):
                tensors.append(x)
                return x.on_cpu if isinstance(x, CudaTensor) else x
            return [values(entry) for entry in x] if isinstance(x, (list, tuple)) else x

        kwargs = kwargs or {}
        on_cpu = {name: values(x) for name, x in kwargs.items()}
        positional = values(args)
        _check(func, tensors)
        found = func(*positional, **on_cpu)
        return return_and_correct_aliasing(func, args, kwargs, _wrapped(found))


def _wrapped(found: Any) -> Any:
    if isinstance(found, (list, tuple)):
        return type(found)(_wrapped(entry) for entry in found)
    return CudaTensor(found) if type(found) is Tensor else found


# The waits in each of the enclosing `host_may_wait` blocks.
_allowed: list[list[str]] = []


@contextmanager
def host_may_wait() -> Iterator[list[str]]:
    """Allow inside what is a `HostWait` otherwise. Gives the list of what was waited for."""
    _allowed.append([])
    try:
        yield _allowed[-1]
    finally:
        _allowed.pop()


def _wait(reason: str) -> None:
    if not _allowed:
        raise HostWait(reason)
    _allowed[-1].append(reason)


def _check(func: Any, tensors: list[Tensor]) -> None:
    others = [x for x in tensors if not isinstance(x, CudaTensor)]
    if func is torch.ops.aten.copy_.default:
        if others and not getattr(others[0], "in_pinned_memory", False):
            _wait("a copy between the devices, not from pinned memory")
    elif any(x.ndim or torch.Tag.pointwise not in func.tags for x in others):
        raise MixedDevices(f"{func} of tensors of both devices")
    elif func is torch.ops.aten.index.Tensor:
        if any(x.dtype == torch.bool for x in tensors[1:]):
            _wait("an index that is a mask")
    elif {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
        _wait(f"{func} reads a value")


class _Generator(torch.Generator):
    """Draws on the CPU, whatever its device."""

    def __new__(cls, device: Any = _CPU) -> _Generator:
        made = super().__new__(cls)
        made._named = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self._named


class _Redirected(TorchFunctionMode):
    """Sends calls that name the device to the CPU, and what they return to `CudaTensor`."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("tolist", "numpy", "cpu", "__array__") and isinstance(args[0], CudaTensor):
            _wait(f"Tensor.{name}")
            return func(args[0].on_cpu, *args[1:], **kwargs)
        if func is Tensor.pin_memory:
            return _pinned(args[0])
        named = [device for x in (*args, *kwargs.values()) if (device := _device(x))]
        if not named or name == "__set__":
            return func(*args, **kwargs)
        if func is Tensor.to:
            return _moved(args[0], named[0], args[1:], kwargs)
        if named[0] == CUDA and func in (torch.tensor, torch.as_tensor):
            _wait("values from Python")
        on_cpu = {n: _CPU if _device(x) else x for n, x in kwargs.items()}
        found = func(*(_CPU if _device(x) else x for x in args), **on_cpu)
        return CudaTensor(found) if named[0] == CUDA and type(found) is Tensor else found


def _device(value: Any) -> torch.device | None:
    if isinstance(value, str) and value in ("cpu", "cuda", "cuda:0"):
        value = torch.device(value)
    if not isinstance(value, torch.device):
        return None
    return CUDA if value.type == "cuda" else value


def _pinned(tensor: Tensor) -> Tensor:
    copy = tensor.clone()
    copy.in_pinned_memory = True
    return copy


def _moved(tensor: Tensor, device: torch.device, args: Any, kwargs: dict[str, Any]) -> Tensor:
    rest = [x for x in args if not _device(x)]
    kwargs = {name: x for name, x in kwargs.items() if name != "device"}
    if isinstance(tensor, CudaTensor):
        if device.type != "cuda":
            _wait("a copy to the host")
            return tensor.on_cpu.to(device, *rest, **kwargs)
        return tensor.to(*rest, **kwargs) if rest or kwargs.keys() - {"non_blocking"} else tensor
    moved = tensor.to(_CPU, *rest, **kwargs)
    if device.type != "cuda":
        return moved
    if not getattr(tensor, "in_pinned_memory", False):
        _wait("a copy to the device from pageable memory")
    return CudaTensor(moved.detach().clone())


@contextmanager
def pretend_cuda() -> Iterator[torch.device]:
    """The device `cuda:0` exists inside."""
    autocast = torch.autocast
    grouped = torch._C._group_tensors_by_device_and_dtype
    named = {
        "torch.autocast": lambda device, *args, **kwargs: autocast("cpu", *args, **kwargs),
        "torch.Generator": _Generator,
        # Optimizers and clipping ask C++ for the devices of their tensors.
        "torch._C._group_tensors_by_device_and_dtype": lambda tensors, *args: {
            (found[0][0][0].device, dtype): found
            for (_, dtype), found in grouped(tensors, *args).items()
        },
        "torch.utils._foreach_utils._foreach_supported_types": [Tensor, CudaTensor],
    }
    with ExitStack() as patches:
        for name, stand_in in named.items():
            patches.enter_context(patch(name, stand_in))
        patches.enter_context(_Redirected())
        yield CUDA


def on_cuda(model: torch.nn.Module) -> torch.nn.Module:
    """The model with its tensors on `cuda:0`, in place; `Module.to` does not take subclasses."""
    moved: dict[int, Any] = {}

    def move(tensor: Any, wrap: Callable[[Tensor], Tensor]) -> Any:
        if tensor is not None and id(tensor) not in moved:
            moved[id(tensor)] = wrap(CudaTensor(tensor.detach().clone()))
        return moved.get(id(tensor))

    for module in model.modules():
        for name, weight in module._parameters.items():
            module._parameters[name] = move(
                weight, lambda x, w=weight: torch.nn.Parameter(x, w.requires_grad)
            )
        for name, buffer in module._buffers.items():
            module._buffers[name] = move(buffer, lambda x: x)
    return model
