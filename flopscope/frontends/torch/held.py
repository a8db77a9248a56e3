"""Tensors inside inputs that are objects, such as the cache of keys and values that a language model reads and extends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

_MOST_OBJECTS = 100_000
_PLAIN = (str, bytes, int, float, complex, type, nn.Module)


def with_twins(held: Any, twin_of: Callable[[Tensor], Tensor]) -> Any:
    """A copy of an object in which a twin stands for every tensor, so that the model may write to it; without tensors, the object itself.

    An object that cannot be copied is passed as it is.
    """
    tensors = list(tensors_in(held))
    if not tensors:
        return held
    memo: dict[int, Any] = {id(tensor): twin_of(tensor) for tensor in tensors}
    try:
        return copy.deepcopy(held, memo)
    except Exception:  # noqa: BLE001 - an object may refuse to be copied in any way it likes
        return held


def tensors_in(held: Any) -> Iterator[Tensor]:
    """The tensors that an object holds, however deep, each once, in the order of its attributes. Modules are not looked into."""
    waiting, seen = [held], {id(held)}
    while waiting and len(seen) < _MOST_OBJECTS:
        item = waiting.pop()
        if isinstance(item, Tensor):
            yield item
            continue
        for part in reversed(_parts(item)):
            if id(part) not in seen and part is not None and not isinstance(part, _PLAIN):
                seen.add(id(part))
                waiting.append(part)


def _parts(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, (list, tuple)):
        return list(item)
    return list(vars(item).values()) if hasattr(item, "__dict__") and not callable(item) else []
