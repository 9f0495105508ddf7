import json
from pathlib import Path

import pytest
from scipy import stats

from nearid.errors import UserError
from nearid.scores.human_alignment import (
    METHODS,
    align,
    align_humans,
    canonical_key,
    read_human_ratings,
    read_ratings,
)

RELEASE = Path(__file__).parents[3] / "shared" / "data" / "dreambench_plus"
released = pytest.mark.skipif(not RELEASE.is_dir(), reason="the DreamBench++ rating files are not on this machine")

# Table 2 of the paper: human-human, and NearID with its +-.
TABLE_2 = {
    "textual_inversion_sd": (0.684, 0.675, 0.007),
    "dreambooth_sd": (0.731, 0.655, 0.023),
    "dreambooth_lora_sdxl": (0.651, 0.546, 0.006),
    "blip_diffusion": (0.630, 0.382, 0.002),
    "emu2": (0.763, 0.768, 0.028),
    "ip_adapter_plus_vit_h_sdxl": (0.530, 0.306, 0.018),
    "ip_adapter_vit_g_sdxl": (0.485, 0.316, 0.041),
}


@pytest.fixture(scope="module")
def humans():
    return read_human_ratings(RELEASE / "data_human_rating" / "merged_data")


def scores_of(name):
    return {method: read_ratings(RELEASE / name / f"{method}.json") for method in METHODS}


@released
def test_human_agreement_is_that_of_table_2(humans):
    found = align_humans(humans)
    assert {method: value for method, (value, _) in found.methods.items()} == pytest.approx(
        {method: row[0] for method, row in TABLE_2.items()}, abs=0.0006
    )
    assert (found.m_h, found.error) == pytest.approx((0.648, 0.038), abs=0.0006)
    assert found.pairs == 585


@released
def test_nearid_agreement_is_that_of_table_2(humans):
    found = align(scores_of("data_nearid_rating"), humans)
    for method, (_, value, spread) in TABLE_2.items():
        assert found.methods[method] == pytest.approx((value, spread), abs=0.0006), method
    assert (found.m_h, found.error) == pytest.approx((0.545, 0.071), abs=0.0006)


@released
def test_the_frozen_backbone_agrees_as_the_files_say(humans):
    assert align(scores_of("data_backbone_rating"), humans).m_h == pytest.approx(0.5155, abs=0.0001)


@pytest.mark.parametrize(
    ("key", "canonical"),
    [
        ("live_subject_animal_00_kitten-0_0", "live_subject_animal_00_kitten-0"),
        ("live_subject_animal_00_kitten-0", "live_subject_animal_00_kitten-0"),
        ("object_20_rubik's_cube-3_12", "object_20_magic_cube-3"),
    ],
)
def test_keys_of_all_origins_meet(key, canonical):
    assert canonical_key(key) == canonical


def test_the_order_of_files_does_not_matter_and_categories_stay_apart():
    keys = [f"object_{n:02d}_hat-0" for n in range(5)] + [f"style_{n:02d}_ink-0" for n in range(5)]
    first, second = ({key: float((n * step) % 7) for n, key in enumerate(keys)} for step in (3, 5))
    scores = {key: float(n * n % 11) for n, key in enumerate(keys)}
    shuffled = dict(sorted(scores.items(), key=lambda item: item[1]))
    found = align({"m": shuffled, "n": scores}, {"m": (first, second), "n": (first, second)}, "style")
    r = [stats.pearsonr([scores[k] for k in keys[5:]], [group[k] for k in keys[5:]])[0] for group in (first, second)]
    assert found.methods["m"] == pytest.approx(((r[0] + r[1]) / 2, abs(r[0] - r[1]) / 2), abs=1e-4)
    assert found.pairs == 5


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "emu2.json"
    with pytest.raises(UserError, match=r"emu2\.json"):
        read_ratings(path)
    for content in ("[1]", '{"a": "x"}', "{", json.dumps({"a-0_0": 1, "a-0_1": 2})):
        path.write_text(content)
        with pytest.raises(UserError, match=r"emu2\.json"):
            read_ratings(path)


def test_unmatched_keys_are_refused():
    ratings = {"object_00_a-0": 1.0, "object_01_b-0": 2.0}
    with pytest.raises(UserError, match="object_01_b-0"):
        align({"m": {"object_00_a-0": 1.0}}, {"m": (ratings, ratings)})
