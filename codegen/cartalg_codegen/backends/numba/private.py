"""Every interface of Numba and llvmlite that they do not promise to keep; nothing else in the library uses one.

The versions that have them are bounded in pyproject.toml. `missing` names those that a version has not, which a test
prints.
"""

import ctypes
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from llvmlite import ir
from numba import types

#: Where each interface lives. Imported below, in this order.
INTERFACES = (
    "numba.core.caching.CompileResultCacheImpl",
    "numba.core.caching.FunctionCache",
    "numba.core.caching._CacheLocator",
    "numba.core.cgutils.alloca_once",
    "numba.core.cgutils.for_range",
    "numba.core.cgutils.get_or_insert_function",
    "numba.core.cgutils.unpack_tuple",
    "numba.core.compiler_lock.global_compiler_lock",
    "numba.core.dispatcher.Dispatcher",
    "numba.core.typeconv.Conversion",
    "numba.core.typing.signature",
    "numba.core.typing.templates.AbstractTemplate",
    "numba.core.typing.templates.infer_global",
    "numba.np.arrayobj.make_array",
    "numba.np.arrayobj.populate_array",
)


def missing() -> list[str]:
    """Interfaces that the installed Numba does not have."""
    return [name for name in INTERFACES if not _has(name)]


def _has(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(import_module(module), attribute)
    except ImportError:
        return False


def _get(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


_lost = missing()
if _lost:
    raise ImportError(
        f"this Numba lacks {', '.join(_lost)}, which cartalg uses; install a version that pyproject.toml allows"
    )
(
    CompileResultCacheImpl,
    FunctionCache,
    CacheLocator,
    alloca_once,
    for_range,
    get_or_insert_function,
    unpack_tuple,
    global_compiler_lock,
    Dispatcher,
    Conversion,
    signature,
    AbstractTemplate,
    infer_global,
    make_array,
    populate_array,
) = map(_get, INTERFACES)


def promise_no_overlap(dispatcher: Any) -> None:
    """Compile with the promise that array arguments do not overlap, and within each function that calls it.

    A function called by its name would be whichever copy the process has loaded first. There is one in the code of each
    caller, each rounded in its own way, so that a process which compiles would differ from one that finds the cache.
    """
    customize = dispatcher._compiler._customize_flags

    def with_promise(flags: Any) -> Any:
        flags = customize(flags)
        flags.noalias = flags.forceinline = True
        return flags

    dispatcher._compiler._customize_flags = with_promise


def set_cache(dispatcher: Any, cache: Any) -> None:
    """Where a function's machine code is kept."""
    dispatcher._cache = cache


def compile_for(dispatcher: Any, kinds: tuple[types.Type, ...]) -> Any:
    """The result of compiling a function for argument types."""
    dispatcher.compile(kinds)
    return dispatcher.overloads[kinds]


class Callee:
    """Calls a compiled function at its address, by Numba's calling convention; a failure is stored as 1 at `failed`."""

    def __init__(self, compiled: Any, kinds: Sequence[types.Type], builder: ir.IRBuilder, failed: Any) -> None:
        self.context, self.builder, self._failed = compiled.target_context, builder, failed
        function_type = self.context.call_conv.get_function_type(types.none, list(kinds))
        address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        self._callee = builder.inttoptr(ir.Constant(ir.IntType(64), address), function_type.as_pointer())
        self._packer = self.context.get_arg_packer(list(kinds))
        self._places = [alloca_once(builder, function_type.args[i].pointee) for i in (0, 1)]

    def __call__(self, values: Sequence[Any]) -> None:
        """Call it with LLVM values."""
        builder = self.builder
        status = builder.call(self._callee, [*self._places, *self._packer.as_arguments(builder, values)])
        with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(status.type, 0))):
            builder.store(ir.Constant(ir.IntType(64), 1), self._failed)


def new_library(compiled: Any, name: str) -> tuple[Any, ir.Module]:
    """A library of machine code, and its module to be filled."""
    library = compiled.target_context.codegen().create_library(name)
    return library, library.create_ir_module(name)


def finish_library(library: Any, module: ir.Module) -> None:
    """Turn a module into machine code."""
    library.add_ir_module(module)
    library.finalize()


def address_of(library: Any, name: str) -> ctypes.c_void_p:
    """Where a function of a library is."""
    return ctypes.c_void_p(library.get_pointer_to_function(name))
