"""Label frames of acetamide by PBE/def2-SVP as the shipped ones are: `python label_acetamide.py FRAMES OUTPUT`.

It needs PySCF and ASE alone (pip install pyscf==2.14.0 ase==3.29.0), in an environment of its own if you like. A frame
whose calculation does not converge is left out, and said. Run again to go on after an interruption.
"""

import sys
from pathlib import Path

import ase.io
from ase import Atoms

sys.path.insert(0, str(Path(__file__).parents[2] / "cartalg" / "datasets" / "acetamide"))
from labels import label


def main() -> None:
    """Label what is not labelled yet."""
    frames, output = Path(sys.argv[1]), Path(sys.argv[2])
    part = output.with_suffix(".part.xyz")
    done = ase.io.read(part, ":") if part.exists() else []
    known = {round(float(atoms.info["frame"])) for atoms in done}
    for atoms in ase.io.read(frames, ":"):
        if atoms.info["frame"] in known:
            continue
        plain = Atoms(atoms.numbers, atoms.positions, info={"frame": atoms.info["frame"]})
        try:
            done.append(label(plain))
        except RuntimeError as error:
            print(f"frame {atoms.info['frame']} is left out: {error}", flush=True)
            continue
        ase.io.write(part, done)
        print(f"{len(done)} labelled", flush=True)
    part.replace(output)


if __name__ == "__main__":
    main()
