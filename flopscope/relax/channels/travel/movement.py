"""How dimensions travel through views and copies: reshape, permute, concatenate, split, expand, index."""

from __future__ import annotations

from collections.abc import Sequence

from flopscope.relax.channels.dims import Dim, Dims, Flexible, fixed, is_fixed
from flopscope.relax.channels.travel.registry import Call, broadcast, travels


@travels(
    "clone", "contiguous", "_to_copy", "to", "type_as", "detach", "alias", "lift_fresh", "lift_fresh_copy", "lift", "tril", "triu",
    "resolve_conj", "resolve_neg", "empty_like", "zeros_like", "ones_like", "full_like", "fill", "zero", "_cast_Float", "_cast_Half",
    "rand_like", "randn_like", "detach_copy", "_autocast_to_reduced_precision", "_autocast_to_full_precision",
)  # fmt: skip
def same(call: Call) -> list[Dims]:
    """The result has the shape of the first operand."""
    return [call.first]


@travels("copy", "masked_fill", "where")
def together(call: Call) -> list[Dims]:
    """The operands are broadcast together."""
    return [broadcast(call, call.operands)]


@travels(
    "arange", "zeros", "ones", "full", "empty", "scalar_tensor", "randn", "rand", "new_zeros", "new_ones", "new_full", "new_empty", "eye"
)
def made(call: Call) -> list[Dims]:
    """The sizes are written in the model."""
    return [tuple(fixed(size) for size in call.shape())]


def _cut(call: Call) -> str:
    return f"it is cut or joined at a fixed place ({call.reason})"


# -- reshaping ----------------------------------------------------------------------------------------------


@travels(
    "view", "reshape", "flatten", "unflatten", "_unsafe_view", "squeeze", "unsqueeze", "ravel", "_reshape_copy", "view_copy",
    "squeeze_copy", "unsqueeze_copy", "reshape_as", "view_as",
)  # fmt: skip
def reshape(call: Call) -> list[Dims]:
    """``[a, b, *] = reshape([a*b, *])``: runs of dimensions with equal products become one another."""
    x, sizes = call.first, call.shape()
    if any(call.units.size(dim) == 0 for dim in x):
        return call.give_up()
    asked = call.argument("size", call.argument("shape"))
    asked = asked if isinstance(asked, tuple) and len(asked) == len(sizes) else ()
    if call.op.kind == "unflatten":
        dim = call.argument("dim", 0) % len(x)
        asked = (0,) * dim + tuple(call.argument("sizes", ())) + (0,) * (len(x) - dim - 1)
    found: list[Dim] = []
    for inputs, first, last in _runs(call, x, sizes):
        open_ = next((place - first for place in range(first, last) if asked and asked[place] == -1), None)
        heads = last - first - 2 if inputs and inputs[-1] is x[-1] and len(x) > 2 else None  # of a fixed width
        if len(inputs) == 1 and last - first == 1:
            found.append(inputs[0])
        else:
            merged = call.units.merge(inputs, _cut(call))
            found += call.units.factor(merged, sizes[first:last], Flexible(open_, heads), _cut(call))
    return [tuple(found)]


def _runs(call: Call, x: Dims, sizes: Sequence[int]) -> list[tuple[list[Dim], int, int]]:
    """The shortest runs of input dims and output positions with equal products."""
    runs: list[tuple[list[Dim], int, int]] = []
    position = place = 0
    while position < len(x) or place < len(sizes):
        inputs: list[Dim] = []
        first, have, want = place, 1, 1
        while True:
            if have <= want and position < len(x) and (have < want or not inputs):
                inputs.append(x[position])
                have *= call.units.size(x[position])
                position += 1
            elif place < len(sizes) and (want < have or place == first):
                want *= sizes[place]
                place += 1
            if have == want and (inputs or position == len(x)) and (place > first or place == len(sizes)):
                break
        runs.append((inputs, first, place))
    return runs


@travels("transpose", "swapaxes", "transpose_copy", "swapdims")
def transpose(call: Call) -> list[Dims]:
    """Two dimensions change places."""
    dims = list(call.first)
    one, other = (call.argument(name, call.argument(axis)) for name, axis in (("dim0", "axis0"), ("dim1", "axis1")))
    dims[one], dims[other] = dims[other], dims[one]
    return [tuple(dims)]


@travels("permute", "permute_copy")
def permute(call: Call) -> list[Dims]:
    """Dimensions in another order."""
    return [tuple(call.first[dim] for dim in call.argument("dims"))]


@travels("t", "mT", "numpy_T", "matrix_H", "mH", "t_copy", "adjoint")
def reverse(call: Call) -> list[Dims]:
    """The last two dimensions change places (of ``numpy_T`` all)."""
    x = call.first
    return [x[::-1] if call.op.kind == "numpy_T" or len(x) < 3 else (*x[:-2], x[-1], x[-2])]


@travels("movedim", "moveaxis")
def movedim(call: Call) -> list[Dims]:
    """Dimensions are taken out and put in elsewhere."""
    x = call.first
    sources, targets = call.argument("source"), call.argument("destination")
    sources, targets = ((value,) if isinstance(value, int) else tuple(value) for value in (sources, targets))
    placed = {target % len(x): x[source] for source, target in zip(sources, targets, strict=True)}
    others = iter(dim for position, dim in enumerate(x) if position not in [source % len(x) for source in sources])
    return [tuple(placed[position] if position in placed else next(others) for position in range(len(x)))]


# -- joining and taking apart ---------------------------------------------------------------------------------


@travels("cat", "concat", "concatenate")
def cat(call: Call) -> list[Dims]:
    """Groups side by side; the other dimensions are equal. An empty vector joins anything."""
    parts = [dims for dims in call.operands if dims != (fixed(0),)]
    if not parts:
        return call.give_up()
    dim = call.argument("dim", 0) % len(parts[0])
    joined: Dim = tuple(term for dims in parts for term in dims[dim])
    for other in parts[1:]:
        for position, (one, two) in enumerate(zip(parts[0], other, strict=True)):
            if position != dim:
                call.same(one, two)
    return [(*parts[0][:dim], call.units.resolve(joined), *parts[0][dim + 1 :])]


@travels("stack")
def stack(call: Call) -> list[Dims]:
    """``[k, *] = stack([*], ...)``."""
    dims = list(broadcast(call, call.operands))
    dims.insert(call.argument("dim", 0) % (len(dims) + 1), fixed(len(call.operands)))
    return [tuple(dims)]


@travels("chunk", "split", "tensor_split", "split_with_sizes", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes")
def split(call: Call) -> list[Dims]:
    """Pieces of a dimension. Where the model asks for equal ones, they stay equal."""
    x = call.first
    dim = call.argument("dim", 0) % len(x)
    sizes = [call.shape(output)[dim] for output in range(len(call.op.outputs))]
    asked = call.argument("split_sizes", call.argument("split_size", call.argument("indices")))
    if len(sizes) > 1 and len(set(sizes)) == 1 and not isinstance(asked, tuple):
        pieces = [call.units.divide_equally(x[dim], len(sizes), _cut(call))] * len(sizes)
    else:
        pieces = call.units.cut(x[dim], sizes, _cut(call))
    return [(*x[:dim], piece, *x[dim + 1 :]) for piece in pieces]


@travels("slice", "narrow", "slice_copy", "narrow_copy")
def slice_(call: Call) -> list[Dims]:
    """A piece of one dimension; of several in a row where the step is one."""
    x = call.first
    dim = call.argument("dim", 0) % len(x)
    whole, kept = call.units.size(x[dim]), call.shape()[dim]
    if kept == whole or is_fixed(call.units.resolve(x[dim])):
        return [(*x[:dim], x[dim] if kept == whole else fixed(kept), *x[dim + 1 :])]
    start = call.argument("start", 0)
    start = min(max(start + whole if start < 0 else start, 0), whole)
    if call.argument("step", 1) != 1:
        call.freeze(x[dim])
        return [(*x[:dim], fixed(kept), *x[dim + 1 :])]
    piece = call.units.cut(x[dim], [start, kept, whole - start - kept], _cut(call))[1]
    return [(*x[:dim], piece, *x[dim + 1 :])]


@travels("select", "unbind", "select_copy", "unbind_copy")
def select(call: Call) -> list[Dims]:
    """One dimension is taken apart position by position, so its size is part of the model."""
    x = call.first
    dim = call.argument("dim", 0) % len(x)
    call.freeze(x[dim], why=f"single positions are taken from it ({call.reason})")
    return [(*x[:dim], *x[dim + 1 :])] * len(call.op.outputs)


# -- repeating and looking up -----------------------------------------------------------------------------------


@travels("expand", "expand_as", "broadcast_to", "expand_copy")
def expand(call: Call) -> list[Dims]:
    """Sizes of one become what the model says, or what the other tensor has."""
    sizes = call.shape()
    wanted = call["other"] if call["other"] is not None else tuple(fixed(size) for size in sizes)
    x = (fixed(1),) * (len(sizes) - len(call.first)) + call.first
    return [tuple(want if dim == fixed(1) else dim for dim, want in zip(x, wanted, strict=True))]


@travels("repeat", "tile")
def repeat(call: Call) -> list[Dims]:
    """Every dimension several times over."""
    times = call.argument("repeats", call.argument("dims"))
    rank = max(len(times), len(call.first))
    x = (fixed(1),) * (rank - len(call.first)) + call.first
    times = (1,) * (rank - len(times)) + tuple(times)
    return [tuple(call.units.merge([fixed(count), dim], _cut(call)) if count != 1 else dim for dim, count in zip(x, times, strict=True))]


@travels("repeat_interleave")
def repeat_interleave(call: Call) -> list[Dims]:
    """Every position of one dimension several times over."""
    x, dim, count = call.first, call.argument("dim"), call.argument("repeats")
    if dim is None or not isinstance(count, int):
        return call.give_up()
    dim %= len(x)
    return [(*x[:dim], call.units.merge([x[dim], fixed(count)], _cut(call)), *x[dim + 1 :])]


@travels("pad", "constant_pad_nd")
def pad(call: Call) -> list[Dims]:
    """Fixed numbers of zeros before and after, from the last dimension on."""
    x, pads = call.first, call.argument("pad", call.argument("padding", ()))
    found = list(x)
    for position in range(len(pads) // 2):
        before, after = pads[2 * position], pads[2 * position + 1]
        dim = len(x) - 1 - position
        if is_fixed(call.units.resolve(x[dim])) or before < 0 or after < 0:
            call.freeze(x[dim])
            found[dim] = fixed(call.shape()[dim])
        else:
            found[dim] = call.units.resolve((*fixed(before), *x[dim], *fixed(after)))
    return [tuple(found)]


@travels("roll", "flip")
def roll(call: Call) -> list[Dims]:
    """Positions in another order: a dimension that is rolled is no row of groups any more."""
    dims = call.argument("dims", tuple(range(len(call.first))))
    for dim in (dims,) if isinstance(dims, int) else dims:
        call.freeze(call.first[dim])
    return [call.first]


@travels("index", "_unsafe_index")
def index(call: Call) -> list[Dims]:
    """``source[indices]``: dimensions without an index tensor stay; those with one are looked up, so their sizes are part of the model."""
    x = call.first
    indices = call["indices"]
    given = [position for position, dims in enumerate(indices or []) if dims is not None]
    types = call.argument("indices")
    masked = any(type is not None and type.dtype in ("bool", "uint8") for type in types)
    if not given or masked or given != list(range(given[0], given[-1] + 1)):
        return call.give_up()
    call.freeze(*(x[position] for position in given), why=f"positions are looked up in it ({call.reason})")
    looked_up = broadcast(call, [indices[position] for position in given])
    return [(*x[: given[0]], *looked_up, *x[given[-1] + 1 :])]


@travels("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: Call) -> list[Dims]:
    """``[n, c, *]``: c as ``[g, c/g]`` becomes ``[c/g, g]``."""
    x, groups = call.first, call.argument("groups")
    size = call.units.size(x[1])
    outer, inner = call.units.factor(x[1], [groups, size // groups], Flexible(1), _cut(call))
    return [(x[0], call.units.merge([inner, outer], _cut(call)), *x[2:])]


@travels("pixel_shuffle", "pixel_unshuffle")
def pixel_shuffle(call: Call) -> list[Dims]:
    """``[n, c, r*h, r*w] = pixel_shuffle([n, c*r*r, h, w], r)``, and back."""
    x = call.first
    if call.op.kind == "pixel_shuffle":
        channels = call.units.divide(x[-3], call.argument("upscale_factor") ** 2, _cut(call))
    else:
        channels = call.units.merge([x[-3], fixed(call.argument("downscale_factor") ** 2)], _cut(call))
    call.freeze(*x[-2:])
    return [(*x[:-3], channels, *(fixed(size) for size in call.shape()[-2:]))]


@travels("topk", "sort", "argsort")
def ordered(call: Call) -> list[Dims]:
    """One dimension is put in order, so its size is part of the model."""
    x = call.first
    dim = call.argument("dim", -1) % max(len(x), 1)
    if not x:
        return call.give_up()
    call.freeze(x[dim])
    return [(*x[:dim], fixed(call.shape(output)[dim]), *x[dim + 1 :]) for output in range(len(call.op.outputs))]
