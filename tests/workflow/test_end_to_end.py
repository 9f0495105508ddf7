"""The real steps, in order, on a few identities: undisturbed, again from nothing, and killed in every stage."""

import pytest
from end_to_end import await_file, copy_project, differences, end, kill, start

# Files that appear while a stage works, before it is done.
STAGES = {
    "data": "data/.progress/**/*.parquet",
    "distractors": "distractors/*/.progress/**/*",
    "tokens": "logs/tokens/extract_tokens/**/*.log",
    "heads": "heads/*/.progress/**/*",
    "scores": "logs/scores/score_nearid_bench/*.log",
    "paper": "logs/paper/make_table/*.log",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    project = copy_project(tmp_path_factory.mktemp("undisturbed") / "project")
    return end(start(project), project)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_every_stage_a_run_ends_with_the_same_bytes(undisturbed, tmp_path):
    project = copy_project(tmp_path / "project")
    for pattern in STAGES.values():
        process = start(project)
        await_file(process, project, pattern)
        kill(process)
    assert differences(end(start(project), project), undisturbed) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_fresh_runs_give_the_same_bytes_and_exports(undisturbed, tmp_path):
    project = copy_project(tmp_path / "project")
    assert differences(end(start(project), project), undisturbed) == []
    assert "paper/tables/table1.csv" in undisturbed
    made = end(start(project, "--", "exports"), project)
    new = {path for path in made if path.startswith("export/")}
    assert made.keys() - undisturbed.keys() == new
    assert {f"export/{form}/nearid/model.safetensors" for form in ("siglip", "release")} <= new
    assert {"export/datasets/NearID/README.md", "export/datasets/NearID-sibling/README.md"} <= new
