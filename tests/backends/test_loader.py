import shutil
from pathlib import Path

from cartalg.files import shipped_folder
from cartalg_codegen.backends.numba.loader import Source

NAME = "convolution.convolution_natural_h1_e1"


def digest(folder):
    """Of a convolution of the shipped set as it lies in another folder."""
    return Source(str(Path(folder, "numba_kernels")), str(folder), NAME).digest


def test_compiled_code_depends_on_every_file_that_is_imported(tmp_path):
    """A convolution's message is changed: the machine code of the convolution that was kept is no longer its own."""
    for folder in ("one", "two"):
        shutil.copytree(shipped_folder(), tmp_path / folder)
    found = [digest(tmp_path / "one")]
    assert digest(tmp_path / "two") == found[0]
    for file in ("message/message_1_1_0.py", "edge/edge_e1.py"):
        path = tmp_path / "two" / "numba_kernels" / file
        path.write_text(path.read_text() + "# changed\n")
        other = tmp_path / path.stem
        shutil.copytree(tmp_path / "two", other)  # a file of one folder is read once
        found.append(digest(other))
    assert len(set(found)) == 3
