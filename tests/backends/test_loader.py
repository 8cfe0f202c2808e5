import shutil
from pathlib import Path

from cartalg.files import shipped_folder
from cartalg_codegen.backends.numba.loader import Source


def test_compiled_code_depends_on_every_file_that_is_imported(tmp_path):
    """A convolution's message is changed: the machine code of the convolution that was kept is no longer its own."""
    shutil.copytree(shipped_folder() / "numba_kernels", tmp_path / "one")
    shutil.copytree(shipped_folder() / "numba_kernels", tmp_path / "two")
    name = "convolution.convolution_natural_h1_e1"
    one, two = (Source(tmp_path / folder, name) for folder in ("one", "two"))
    assert one.digest == two.digest
    for file in ("message/message_1_1_0.py", "edge/edge_e1.py"):
        path = Path(tmp_path / "two" / file)
        path.write_text(path.read_text() + "# changed\n")
        other = tmp_path / file.replace("/", "_")
        shutil.copytree(tmp_path / "two", other)  # files are read once
        assert Source(other, name).digest != one.digest
    assert Source(tmp_path / "message_message_1_1_0.py", name).digest != Source(other, name).digest
