"""Configurations of every kind: taken, or refused in one line that names the file and the key."""

import pytest
import yaml
from hypothesis import strategies as st
from outcomes import TINY, command, fuzz, refused, write_frames

from cartalg.train import run as runs
from cartalg.train.config import Config, ConfigError, load_config

COUNTS = [pytest.param(150, id="short"), pytest.param(2000, id="long", marks=pytest.mark.campaign)]
SECTIONS = {name: field.annotation for name, field in Config.model_fields.items()}
KEYS = {name: [*section.model_fields] for name, section in SECTIONS.items() if hasattr(section, "model_fields")}

word = st.sampled_from(
    ["", "auto", "train.xyz", "none.xyz", "fit", "natural", "table", "1e3", "nan", "../x", "a\nb", "\x1b[31m", "[red]"]
)
number = st.sampled_from([-1, 0, 1, 2, 3, 5, 10**30, 0.5, -0.5, 1e-300, 1e300, float("nan"), float("inf"), True, False])
value = st.recursive(
    st.none() | word | number | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(word, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def changed(draw):
    """A good configuration with up to four changes: a value, a key, a section, or none."""
    config = {"data": {"train": "train.xyz", "valid_count": 2}, "model": dict(TINY), "training": {"epochs": 1}}
    for _ in range(draw(st.integers(0, 4))):
        section = draw(st.sampled_from([*KEYS]))
        kind = draw(st.sampled_from(["value", "value", "value", "key", "section", "gone"]))
        if kind == "section":
            config[section] = draw(value)
        elif not isinstance(config.get(section), dict):
            continue
        elif kind == "gone":
            config[section].pop(draw(st.sampled_from([*config[section], "x"])), None)
        else:
            key = draw(st.sampled_from(KEYS[section])) if kind == "value" else draw(st.text(max_size=6))
            config[section][key] = draw(value)
    return config


@pytest.mark.parametrize("count", COUNTS)
def test_configurations(tmp_path, monkeypatch, count):
    write_frames(tmp_path / "train.xyz", 6)
    path = tmp_path / "config.yaml"
    monkeypatch.setattr(runs, "_train_one", lambda *_: {})  # training itself has tests of its own

    def check(draw):
        config = draw(changed())
        text = yaml.safe_dump(config) if draw(st.booleans()) else yaml.safe_dump(config, default_flow_style=True)
        if draw(st.integers(0, 4)) == 4:
            at = draw(st.integers(0, len(text)))
            text = (
                text[:at]
                + draw(
                    st.sampled_from(["\t", ":", "{", "&a ", "*a", "!!python/object:os.system ", "\x00", "- ", "<<: "])
                )
                + text[at:]
            )
        path.write_text(text)
        outcome = command("train", path, "--output", tmp_path / "run")
        try:
            read = load_config(path)
        except ConfigError:
            refused(outcome, path)
            return "refused"
        assert all(getattr(read.model, k) == v for k, v in config["model"].items() if isinstance(v, int | str))
        if outcome.status:
            refused(outcome, "train", "xyz", "frames", "model", "kernel", "config")
            return "does not fit"
        return "taken"

    assert set(fuzz(count, check)) >= {"taken", "refused"}


def test_yaml_makes_no_objects_and_no_bombs(tmp_path):
    path = tmp_path / "config.yaml"
    for text in ("!!python/object/apply:os.system ['touch x']", "a: !!python/name:os.system", "{" * 5000, "- " * 3000):
        path.write_text(text)
        refused(command("train", path, "--output", tmp_path / "run"), path)
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    path.write_text("\n".join(lines))
    refused(command("train", path, "--output", tmp_path / "run"), path)
    for content in (b"\xff\xfe", b"\x80abc: 1", "é: 1".encode("utf-16")):
        path.write_bytes(content)
        refused(command("train", path, "--output", tmp_path / "run"), path)
    refused(command("train", tmp_path, "--output", tmp_path / "run"), tmp_path)
    assert not (tmp_path / "run").exists()
