import numpy as np
import pytest
from pictures import PHOTOGRAPHS

from nearid.config.schema.dataset import RenderedData
from nearid.config.settings.data import MakeRaters
from nearid.demo.raters import CHANGED, GROUPS, Task, change_of, rate, write_raters
from nearid.dreambench import METHODS
from nearid.errors import UserError
from nearid.layout import Layout
from nearid.scores.dreambench import find_samples
from nearid.scores.human_alignment import categories_of
from nearid.scores.ratings import HUMANS, read_human_ratings

SETTINGS = {
    "seed": 0,
    "kind": "rendered",
    "options": RenderedData(size_px=32, scenes="wild").model_dump(),
    "simulated": {"subjects": 2, "prompts": 2},
}


def test_samples_and_ratings_are_read_as_the_release_is(tmp_path):
    layout = Layout(tmp_path)
    write_raters(MakeRaters.parse(SETTINGS), layout)
    samples, humans = find_samples(layout.raters / "samples"), read_human_ratings(layout.raters / HUMANS)
    assert set(samples) == set(humans) == set(METHODS)
    for method, pairs in samples.items():
        assert set(pairs) == set(humans[method][0]) == set(humans[method][1])
        assert len(pairs) == 4 and all(key.startswith("object_") for key in pairs)
    assert categories_of(humans) == ["object"]
    # All methods have the same references.
    assert len({source.read_bytes() for pairs in samples.values() for source, _ in pairs.values()}) == 2
    before = {path: path.read_bytes() for path in layout.raters.rglob("*") if path.is_file()}
    (layout.raters / "samples" / "stray.png").write_bytes(b"of an earlier try")
    write_raters(MakeRaters.parse(SETTINGS), layout)
    assert {path: path.read_bytes() for path in layout.raters.rglob("*") if path.is_file()} == before


def test_scores_follow_what_was_changed_and_raters_differ():
    tasks = [Task(subject, method, prompt) for method in METHODS for subject in range(30) for prompt in range(3)]
    changes = np.array([change_of(0, task) for task in tasks])
    scores = np.array([[rate(0, task, group) for group in GROUPS] for task in tasks])
    assert set(np.unique(scores)) == {0, 1, 2, 3, 4}
    assert np.corrcoef(changes, scores[:, 0])[0, 1] < -0.8
    assert 0.6 < np.corrcoef(scores.T)[0, 1] < 0.95
    means = changes.reshape(len(METHODS), -1).mean(1)
    assert np.corrcoef(means, list(CHANGED.values()))[0, 1] > 0.9


def test_photographs_have_no_simulated_raters(tmp_path):
    with pytest.raises(UserError, match="image_folder"):
        write_raters(MakeRaters.parse(SETTINGS | {"kind": "image_folder", "options": PHOTOGRAPHS}), Layout(tmp_path))
