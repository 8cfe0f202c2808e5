"""SIMD lanes as a Numba number type: an array of lanes is the array of floats that it lies over, `width` at a time.

An emitted function is written for one channel at a time: ``for c in range(w.shape[1]): wx0 = w0 * x0 ...``. Compiled
for arrays of floats it is plain scalar code; compiled for arrays of lanes, the same source handles `width` channels in
each turn of the loop with one vector instruction an operation. Nothing is left to the loop vectoriser, which gives up
on long bodies and outer loops (docs/benchmarks.md).
"""

import operator
from typing import Any, ClassVar

from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, lower_cast, models, register_model

from cartalg_codegen.backends.numba.private import (
    AbstractTemplate,
    Conversion,
    get_or_insert_function,
    infer_global,
    make_array,
    signature,
    unpack_tuple,
)

#: Bytes of the widest vector that is used: 16 float32 or 8 float64.
VECTOR_BYTES = 64


class Lanes(types.Number):  # type: ignore[misc]
    """`width` floats side by side, added and multiplied element by element.

    A float becomes lanes of equal value. Lanes become a float by being summed: as a sum over channels kept in parts.
    """

    def __init__(self, element: types.Float, width: int) -> None:
        self.element, self.width = element, width
        super().__init__(name=f"Lanes({element}, {width})")

    def can_convert_from(self, typingctx: Any, other: types.Type) -> Any:
        """Real numbers convert."""
        return Conversion.safe if isinstance(other, types.Float | types.Integer) else None

    def unify(self, typingctx: Any, other: types.Type) -> Any:
        """A variable that is a real number here and lanes there is lanes."""
        return self if isinstance(other, types.Float | types.Integer) else None


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    """An LLVM vector that may lie at any address that its elements may."""

    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        element = dmm.lookup(fe_type.element)
        self._align = 4 if fe_type.element == types.float32 else 8
        super().__init__(dmm, fe_type, ir.VectorType(element.get_value_type(), fe_type.width))

    def load_from_data_pointer(self, builder: Any, ptr: Any, align: int | None = None) -> Any:
        return builder.load(ptr, align=self._align)


class LanesArray(types.Array):  # type: ignore[misc]
    """A C-contiguous array of lanes. Its indices are not wrapped: they must not be negative."""

    def __init__(self, lanes: Lanes, dimensions: int) -> None:
        super().__init__(lanes, dimensions, "C", name=f"LanesArray({lanes}, {dimensions})")


register_model(LanesArray)(models.ArrayModel)


def _address(context: Any, builder: Any, kind: LanesArray, value: Any, index_type: Any, index: Any) -> Any:
    """Pointer to one element. Numba's own indexing tests the sign of every index: twice the time of a message."""
    array = make_array(kind)(context, builder, value)
    indices = unpack_tuple(builder, index, len(index_type))
    indices = [context.cast(builder, i, t, types.intp) for i, t in zip(indices, index_type.types, strict=True)]
    sizes = unpack_tuple(builder, array.shape, kind.ndim)
    place = indices[0]
    for size, i in zip(sizes[1:], indices[1:], strict=True):
        place = builder.add(builder.mul(place, size, flags=("nsw",)), i, flags=("nsw",))
    return builder.gep(array.data, [place])


@lower_builtin(operator.getitem, LanesArray, types.BaseTuple)
def _getitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    address = _address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    return context.data_model_manager[sig.return_type].load_from_data_pointer(builder, address)


@lower_builtin(operator.setitem, LanesArray, types.BaseTuple, Lanes)
def _setitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    address = _address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    builder.store(args[2], address, align=4 if sig.args[2].element == types.float32 else 8)
    return context.get_dummy_value()


def splat(builder: Any, value: Any, width: int) -> Any:
    """An LLVM vector of `width` copies of a value."""
    vector = ir.VectorType(value.type, width)
    index = ir.IntType(32)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(index, 0))
    zeros = ir.Constant(ir.VectorType(index, width), [0] * width)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


@lower_cast(types.Integer, Lanes)
@lower_cast(types.Float, Lanes)
def _spread(context: Any, builder: Any, source: Any, target: Lanes, value: Any) -> Any:
    return splat(builder, context.cast(builder, value, source, target.element), target.width)


@lower_cast(Lanes, types.Float)
def _sum(context: Any, builder: Any, source: Lanes, target: Any, value: Any) -> Any:
    element = value.type.element
    name = f"llvm.vector.reduce.fadd.v{source.width}f{source.element.bitwidth}"
    function = get_or_insert_function(builder.module, ir.FunctionType(element, [element, value.type]), name)
    total = builder.call(function, [ir.Constant(element, -0.0), value], fastmath=("reassoc", "nsz"))
    return context.cast(builder, total, source.element, target)


def _binary(function: Any, name: str) -> None:
    @infer_global(function)
    class Template(AbstractTemplate):  # type: ignore[misc]
        metadata: ClassVar[dict[str, str]] = {"target": "cpu"}  # tried before the templates of every target

        def generic(self, args: Any, kws: Any) -> Any:
            lanes = [a for a in args if isinstance(a, Lanes)]
            if len(args) == 2 and lanes and all(a in (lanes[0], lanes[0].element) for a in args):
                return signature(lanes[0], lanes[0], lanes[0])
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, name)(*args)

    lower_builtin(function, Lanes, Lanes)(lower)


for _function, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.iadd, "fadd"),
):
    _binary(_function, _name)


@infer_global(operator.neg)
class _Negative(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], args[0]) if len(args) == 1 and isinstance(args[0], Lanes) else None


@lower_builtin(operator.neg, Lanes)
def _negative(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])
