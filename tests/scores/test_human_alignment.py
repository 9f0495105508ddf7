import json
import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from scipy import stats

from nearid.cli import nearid
from nearid.errors import UserError
from nearid.scores.human_alignment import align, align_humans, bound_alignment
from nearid.scores.ratings import METHODS, canonical_key, method_of, read_human_ratings, read_methods, read_ratings

pytestmark = pytest.mark.numerics

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
    return read_methods(RELEASE / name)


def report(folder, *arguments):
    return CliRunner().invoke(nearid, ["scores", "dreambench", "--ratings", str(folder), *arguments])


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


def test_gpt4os_ratings_lie_one_folder_deeper(tmp_path):
    ratings = {f"object_{n:02d}_hat-0": float(n) for n in range(4)}
    folders = ("data_human_rating/merged_data/group1", "data_human_rating/merged_data/group2")
    for folder in (*folders, "data_gpt_rating/concept_preservation_full"):
        (tmp_path / folder).mkdir(parents=True)
        for method in METHODS:
            (tmp_path / folder / f"{method}.json").write_text(json.dumps(ratings))
    assert json.loads(report(tmp_path, "--json").stdout)["scorers"]["gpt"]["m_h"] == pytest.approx(1.0, abs=1e-3)
    assert read_methods(tmp_path / "data_gpt_rating")["emu2"] == ratings


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


@released
def test_the_command_gives_table_2_whatever_the_order_of_keys(tmp_path):
    told = json.loads(report(RELEASE, "--category", "object", "--json").output)
    assert told["pairs"] == 585
    assert told["human_human"]["m_h"] == pytest.approx(0.648, abs=0.0005)
    assert told["scorers"]["nearid"]["m_h"] == pytest.approx(0.545, abs=0.0005)
    assert told["scorers"]["backbone"]["m_h"] == pytest.approx(0.5155, abs=0.0001)
    for method, (human, value, error) in TABLE_2.items():
        assert told["human_human"]["methods"][method]["value"] == pytest.approx(human, abs=0.0006)
        assert told["scorers"]["nearid"]["methods"][method] == pytest.approx(
            {"value": value, "error": error}, abs=0.0006
        )
    table = report(RELEASE).output
    assert "M-H" in table and "0.545 ±0.071" in table and "0.648 ±0.038" in table
    shutil.copytree(RELEASE, tmp_path / "shuffled")
    rng = random.Random(0)
    for path in (tmp_path / "shuffled").rglob("*.json"):
        entries = list(json.loads(path.read_text()).items())
        rng.shuffle(entries)
        path.write_text(json.dumps(dict(entries)))
    assert json.loads(report(tmp_path / "shuffled", "--json").output) == told


@pytest.fixture
def small(tmp_path):
    """A release with three subjects, two prompts and all seven methods."""
    keys = [f"object_{n:02d}_thing-{prompt}" for n in range(3) for prompt in range(2)]
    for number, folder in enumerate(("group1", "group2", "nearid")):
        for offset, method in enumerate(METHODS):
            place = "data_nearid_rating" if folder == "nearid" else f"data_human_rating/merged_data/{folder}"
            name = f"{method}.json" if folder == "nearid" else f"{method}-cp.json"
            index = "_0" if folder == "nearid" else ""
            path = tmp_path / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({key + index: (n * (number + 2) + offset) % 5 for n, key in enumerate(keys)}))
    return tmp_path


def edit(path, change):
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda entries: entries.pop("object_01_thing-1_0"), "object_01_thing-1"),
        (lambda entries: entries.update({"object_01_thing-1_1": 2}), "object_01_thing-1_1"),
        (lambda entries: entries.update({"object_09_other-0_0": 2}), "object_09_other-0"),
        (lambda entries: entries.update({"object_01_thing-1_0": "much"}), "object_01_thing-1_0"),
        (lambda entries: entries.update({"object_01_thing-1_0": None}), "object_01_thing-1_0"),
    ],
)
def test_a_key_that_does_not_fit_is_named_with_its_file(small, change, named):
    assert report(small).exit_code == 0
    edit(small / "data_nearid_rating" / "emu2.json", change)
    done = report(small)
    assert done.exit_code == 2
    assert named in done.output and "emu2" in done.output and "nearid" in done.output


def test_a_method_with_other_keys_in_all_its_files_is_named(small):
    for path in small.rglob("emu2*.json"):
        edit(path, lambda entries: entries.pop(next(key for key in entries if "00_thing-0" in key)))
    done = report(small)
    assert done.exit_code == 2
    assert "emu2" in done.output and "object_00_thing-0" in done.output


def test_a_key_written_twice_in_the_file_is_refused(small):
    path = small / "data_nearid_rating" / "emu2.json"
    path.write_text('{"object_00_thing-0_0": 1, "object_00_thing-0_0": 2}')
    done = report(small)
    assert done.exit_code == 2 and "object_00_thing-0_0" in done.output


def test_a_missing_file_and_an_unrated_category_are_named(small):
    done = report(small, "--category", "style")
    assert done.exit_code == 2 and "style" in done.output
    (small / "data_human_rating/merged_data/group2/emu2-cp.json").unlink()
    done = report(small)
    assert done.exit_code == 2 and "group2/emu2" in done.output


def test_the_interval_draws_subjects(small):
    humans = read_human_ratings(small / "data_human_rating" / "merged_data")
    scores = read_methods(small / "data_nearid_rating")
    low, high = bound_alignment(scores, humans, "object", seed=0, replicates=100)
    assert low <= align(scores, humans).m_h <= high


@pytest.mark.parametrize(
    ("folder", "method"),
    [
        ("ip_adapter_plus_vit_huge_sdxl_scale_0_6", "ip_adapter_plus_vit_h_sdxl"),
        ("ip-adapter_vit-giant_sdxl", "ip_adapter_vit_g_sdxl"),
        ("dreambooth_lora_sdxl_steps_500", "dreambooth_lora_sdxl"),
        ("dreambooth_sd_guidance_7.5", "dreambooth_sd"),
        ("something_else", None),
    ],
)
def test_sample_folders_tell_their_method(folder, method):
    assert method_of(folder) == method


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "emu2.json"
    with pytest.raises(UserError, match=r"emu2\.json"):
        read_ratings(path)
    for content in ("[1]", '{"a": "x"}', "{", "3", json.dumps({"a-0_0": 1, "a-0_1": 2})):
        path.write_text(content)
        with pytest.raises(UserError, match=r"emu2\.json"):
            read_ratings(path)


def test_unmatched_keys_are_refused():
    ratings = {"object_00_a-0": 1.0, "object_01_b-0": 2.0}
    with pytest.raises(UserError, match="object_01_b-0"):
        align({"m": {"object_00_a-0": 1.0}}, {"m": (ratings, ratings)})
