"""Named data sets: where they come from, how they are checked, what they hold. Facts only; nothing is fetched here.

Where a checksum is empty, its publisher gives none and nobody could compute it here; `fetch` says so and asks.
"""

from dataclasses import dataclass, field

BOTNET = "https://raw.githubusercontent.com/davkovacs/BOTNet-datasets"
GITHUB = f"{BOTNET}/4a5ea06c3f514f24164428823ba1f5e2d2233b58"
#: Of the isolated atoms of ethanol, to which nitrogen was added in another commit.
WITH_NITROGEN = f"{BOTNET}/da3b965c75debf518e75cd7104ffa725a959ac4b"
#: An archived repository, which no longer changes.
MLEARN = "https://raw.githubusercontent.com/materialsvirtuallab/mlearn/master/data"


@dataclass(frozen=True)
class Source:
    """One file at its official address.

    Attributes:
        url: Official address.
        name: Name to keep it under.
        sha256: Checksum in hexadecimal; empty if none is known.
        member: The part of the set that it holds, if each part is a file of its own.
    """

    url: str
    name: str
    sha256: str = ""
    member: str = ""


@dataclass(frozen=True)
class NamedSet:
    """A data set by name.

    Attributes:
        title: What it is.
        paper: Citation.
        licence: Of the data.
        units: As published; files are written in eV and angstrom.
        split: Which frames the papers train, validate and test on.
        sources: Official files.
        form: What the official files are: a key of `convert.READERS`.
        members: Its parts, of which some can be chosen; empty if it has none.
        frames: Number of frames that each file written must have.
        ready: sha256 of files that are in their final form already, by name: taken from a folder as they are.
    """

    title: str
    paper: str
    licence: str
    units: str
    split: str
    sources: tuple[Source, ...]
    form: str
    members: tuple[str, ...] = ()
    frames: dict[str, int] = field(default_factory=dict)
    ready: dict[str, str] = field(default_factory=dict)

    def member_of(self, file: str) -> str:
        """The part that a file written belongs to; empty if the set has no parts."""
        return max((m for m in self.members if file.startswith(m)), key=len, default="")


#: Checksums of files that are published in their final form.
_BOTNET = {
    "3bpa": {
        "train_300K.xyz": "d109971fab90e2231ad931a83eb704c8d940f5c7d7a8de27fe3b84ea18634c0a",
        "isolated_atoms.xyz": "e12a2465a2612bf38fd5dabdf64d4b57fc58ce9610a858c54ea1142d517c053f",
    },
    "acetylacetone": {
        "train_300K.xyz": "8f5706d6902360555a5be59395612d2afc3489a75688388a58e7275fdad68af3",
        "test_300K.xyz": "2291f3186a3cc6a5e05e92952c84a9237ca53f862d78fd3316a769360719ec43",
        "isolated_atoms.xyz": "b74f321b453374621b447d65c60979f70df1b7182c8ee0215388b2c574f33823",
    },
    "ethanol": {
        "train.xyz": "a26a16d8910581fa321fedc3bd3dfe31f2460e8cbfdc7a8f65243f4fd7250dd0",
        "test_MD.xyz": "b8726933d5b9083989d8e3cc7013c18e0950cf0cbc6f6cd570fdb9759001031c",
        "isolated_atoms.xyz": "a2a662390f31ad623ce493038e680bc34214f88d4432566bf8fbd0761be57583",
    },
}

_RMD17 = (
    "aspirin",
    "azobenzene",
    "benzene",
    "ethanol",
    "malonaldehyde",
    "naphthalene",
    "paracetamol",
    "salicylic",
    "toluene",
    "uracil",
)

#: Molecules of MD22: frames in all, and how many of them the paper trains on.
MD22 = {
    "Ac-Ala3-NHMe": (85_109, 6_000),
    "DHA": (69_753, 8_000),
    "stachyose": (27_272, 8_000),
    "AT-AT": (20_001, 3_000),
    "AT-AT-CG-CG": (10_153, 2_000),
    "buckyball-catcher": (6_102, 600),
    "double-walled_nanotube": (5_032, 800),
}

SETS: dict[str, NamedSet] = {
    "3bpa": NamedSet(
        title="3BPA, a flexible drug-like molecule, 27 atoms, wB97X/6-31G(d)",
        paper="Kovacs et al., J. Chem. Theory Comput. 17, 7696 (2021), doi 10.1021/acs.jctc.1c00647",
        licence="MIT",
        units="eV, angstrom",
        split="450 + 50 of the 500 frames of train_300K",
        sources=(
            Source(f"{GITHUB}/dataset_3BPA/train_300K.xyz", "train_300K.xyz", _BOTNET["3bpa"]["train_300K.xyz"]),
            Source(f"{GITHUB}/dataset_3BPA/iso_atoms.xyz", "isolated_atoms.xyz", _BOTNET["3bpa"]["isolated_atoms.xyz"]),
        ),
        form="final",
        frames={"train_300K.xyz": 500, "isolated_atoms.xyz": 4},
        ready=_BOTNET["3bpa"],
    ),
    "acetylacetone": NamedSet(
        title="acetylacetone, 15 atoms, PBE+D3/def2-SVP",
        paper="Batatia et al., arXiv:2205.06643",
        licence="MIT",
        units="eV, angstrom",
        split="450 + 50 of the 500 frames of train_300K; tested on the 650 frames of test_300K",
        sources=tuple(
            Source(f"{GITHUB}/dataset_acac/{there}", here, _BOTNET["acetylacetone"][here])
            for there, here in (
                ("train_300K.xyz", "train_300K.xyz"),
                ("test_MD_300K.xyz", "test_300K.xyz"),
                ("isolated_atoms.xyz", "isolated_atoms.xyz"),
            )
        ),
        form="final",
        frames={"train_300K.xyz": 500, "test_300K.xyz": 650, "isolated_atoms.xyz": 3},
        ready=_BOTNET["acetylacetone"],
    ),
    "ethanol_botnet": NamedSet(
        title="ethanol, 9 atoms, PBE/def2-SVP, frames of rMD17",
        paper="Batatia et al., arXiv:2205.06643",
        licence="MIT",
        units="eV, angstrom",
        split="950 + 50 of the 1,000 frames of train; tested on the 1,000 frames of test_MD",
        sources=(
            Source(f"{GITHUB}/dataset_ethanol/train.xyz", "train.xyz", _BOTNET["ethanol"]["train.xyz"]),
            Source(f"{GITHUB}/dataset_ethanol/test_MD.xyz", "test_MD.xyz", _BOTNET["ethanol"]["test_MD.xyz"]),
            Source(
                f"{WITH_NITROGEN}/dataset_ethanol/isolated_atoms.xyz",
                "isolated_atoms.xyz",
                _BOTNET["ethanol"]["isolated_atoms.xyz"],
            ),
        ),
        form="final",
        frames={"train.xyz": 1000, "test_MD.xyz": 1000, "isolated_atoms.xyz": 4},
        ready=_BOTNET["ethanol"],
    ),
    "mlearn": NamedSet(
        title="Li and Si: molecular dynamics, strained cells, surfaces and vacancies (key group), PBE",
        paper="Zuo et al., J. Phys. Chem. A 124, 731 (2020), doi 10.1021/acs.jpca.9b08723",
        licence="BSD-3-Clause",
        units="eV a cell, angstrom; the official files have stress, too, in kbar with VASP's sign and order",
        split="241 training and 29 test frames of Li, 214 and 25 of Si, as published",
        sources=tuple(
            Source(f"{MLEARN}/{element}/{part}.json", f"{element}_{part}.json", member=element)
            for element in ("Li", "Si")
            for part in ("training", "test")
        ),
        form="mlearn",
        members=("Li", "Si"),
        frames={"Li_training.xyz": 241, "Li_test.xyz": 29, "Si_training.xyz": 214, "Si_test.xyz": 25},
        ready={
            "Li_training.xyz": "417672f3334556f14c220b69b0e8c1538537cf66b547fc78e65056ffd34135f1",
            "Li_test.xyz": "cd51a609253d135b0d74f48f559b2fa51f53d5f4158dd3a619c9eda3409b60a5",
            "Si_training.xyz": "56f772da259a35cde6e2ba2ab53565bcd7925e7659cd6d1b47adec0c0ccd72f2",
            "Si_test.xyz": "a2df6c3f6587067862c162ec0e6e3638bc3dd843ab89f2dc2f455edee8b6918d",
        },
    ),
    "rmd17": NamedSet(
        title="rMD17, ten small molecules, PBE/def2-SVP",
        paper="Christensen and von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020), arXiv:2007.09593",
        licence="CC0",
        units="kcal/mol, angstrom",
        split="950 + 50 of the 1,000 training frames of a split; tested on its 1,000 test frames (--split 1 to 5)",
        # doi 10.6084/m9.figshare.12672038.v3; the package load-atoms publishes the same first twelve digits
        sources=(
            Source(
                "https://figshare.com/ndownloader/files/23950376",
                "rmd17.tar.bz2",
                "cddeea2ec2c4b22a9de16a9a65a3eeedac5b29da9c99c20bbff0153912bf922b",
            ),
        ),
        form="rmd17",
        members=_RMD17,
        frames={f"{m}_{part}.xyz": 1000 for m in _RMD17 for part in ("train", "test")},
        ready={
            "benzene_test.xyz": "0a4600af67eabf90f32ab3c6e15bee9d3f1478c137f5fdeacd0995687041a0f9",
            "benzene_train.xyz": "b8940801eddc42e62a8129c4473e06dbf2945aca494a41f01b188cb982cabfb9",
            "ethanol_test.xyz": "02aa398c8258bf05569411e1e577476ebee2fb9ebbe4ff05329d1633eecd5c79",
            "ethanol_train.xyz": "74c0b5858979944e909a561e6f3ba594da382573bbf9bfb0ea5518bad8eb6822",
            "malonaldehyde_test.xyz": "536f6248a3405a27705f9c06a035bc5d99ab2d589e12ddceb9eb0cc81274d366",
            "malonaldehyde_train.xyz": "0fc543dda5c59c3a308bb1e1e18b2641a000330e3c1657656c932f7fb036c91e",
            "naphthalene_test.xyz": "0b0944f36b4dc5d1dddcc4b57ae067da51207986a0c45785a7d3e8c472e01ec3",
            "naphthalene_train.xyz": "30ca24dbd4ac1ad8a64fdc8345b3f8e08a4e7902898fb1ce8ad60b57f8c17619",
            "toluene_test.xyz": "f9341e4d6b8c5ee11c4328dae101cda8eb455c35d8ba602f8f08408cc4767b6d",
            "toluene_train.xyz": "1545ed23823b4fa21c749063cc1e17ba9331c32ba5409c569b215888ebe81e32",
        },
    ),
    "md22": NamedSet(
        title="MD22, seven molecules of 42 to 370 atoms, PBE+MBD",
        paper="Chmiela et al., Sci. Adv. 9, eadf0873 (2023), doi 10.1126/sciadv.adf0873",
        licence="none stated at the source; the article is CC BY-NC 4.0",
        units="kcal/mol, angstrom",
        split="to train on, " + ", ".join(f"{name} {count:,}" for name, (_, count) in MD22.items()),
        sources=tuple(
            Source(f"http://www.quantum-machine.org/gdml/repo/static/md22_{m}.zip", f"md22_{m}.zip", member=m)
            for m in MD22
        ),
        form="md22",
        members=tuple(MD22),
        frames={f"{m}.xyz": count for m, (count, _) in MD22.items()},
    ),
    "monbtaw": NamedSet(
        title="Mo-Nb-Ta-W alloys and their elements with stress, PBE",
        paper="Li et al., npj Comput. Mater. 6, 70 (2020), doi 10.1038/s41524-020-0339-0",
        licence="BSD-3-Clause",
        units="eV, angstrom; stress in kbar with VASP's sign and order",
        split="1,474 training and 280 test frames, as published",
        sources=(
            Source(
                "https://github.com/materialsvirtuallab/snap/archive/30b5f76cd086caf3a133f5930b3568b558798e57.zip",
                "snap.zip",
            ),
        ),
        form="vasp_json",
        frames={"train.xyz": 1474, "test.xyz": 280},
        ready={
            "train.xyz": "90bf6164d7417d7d3f799e9ef9fc982da6d15e82f47db02f2da2bd8a2cfbe6b9",
            "test.xyz": "6f08df649ffeb7b6764c388b78321fc31bb2c7a01beffee7e31ae82673f7cec4",
        },
    ),
    "tavcrw": NamedSet(
        title="Ta-V-Cr-W alloys with stress, PBE",
        paper="Gubaev et al., npj Comput. Mater. 9, 129 (2023), data doi 10.18419/darus-3516",
        licence="CC BY 4.0",
        units="eV, angstrom; stress times volume in eV",
        split="ten splits for training and validation, deformed and out-of-distribution frames, as published",
        sources=(
            Source(
                "https://darus.uni-stuttgart.de/api/access/dataset/:persistentId/?persistentId=doi:10.18419/darus-3516",
                "darus-3516.zip",
            ),
        ),
        form="mtp_cfg",
    ),
}
