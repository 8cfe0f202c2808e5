"""Machine code made: an emitted function compiled, optimised by LLVM, and laid out as it will lie in memory."""

import struct

import llvmlite.binding as llvm

from cartalg_codegen.backends.numba.compiler import Functions
from cartalg_codegen.backends.numba.entry import entry
from cartalg_codegen.backends.numba.linking import Unlinkable, link
from cartalg_codegen.backends.numba.loader import read
from cartalg_codegen.backends.numba.objects import FUNCTIONS, Job
from cartalg_codegen.backends.numba.targets import EFFORT, machine
from cartalg_codegen.backends.numba.values import Kind


def made(job: Job) -> bytes:
    """The machine code of a job: where the functions begin, two words, then what memory will hold; or an object.

    Raises:
        TypeError, KeyError: If the emitted file says what the compiler does not know.
    """
    source = read(job.folder, job.version, job.source)
    functions = Functions(source.find, job.precision)
    label = functions.compile(source.name, job.stage, [Kind("int")] * 3 + list(job.kinds))
    return assembled(f"{functions.text()}\n{entry(label, job.kinds, job.columns, job.precision)}", job.target)


def assembled(text: str, target: str, names: tuple[str, ...] = FUNCTIONS) -> bytes:
    """LLVM assembly as machine code with these functions."""
    builder_machine, _ = machine(target)
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=EFFORT)
    options.loop_vectorization = options.slp_vectorization = False  # lanes are vectors already
    builder = llvm.create_pass_builder(builder_machine, options)
    builder.getModulePassManager().run(module, builder)
    code: bytes = builder_machine.emit_object(module)
    try:
        image, starts = link(code, names)
    except Unlinkable:
        return code
    return struct.pack(f"<{len(starts)}Q", *starts) + image
