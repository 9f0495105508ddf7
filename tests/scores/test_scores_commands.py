import json

from click.testing import CliRunner
from score_steps import of_mtg

from nearid.cli import nearid
from nearid.io.files import read_json
from nearid.io.tables import read_table


def run(world, *arguments, **settings):
    return CliRunner().invoke(
        nearid, ["scores", *arguments, "--results", str(world.layout.root), "--settings", json.dumps(settings)]
    )


def test_the_three_commands_make_the_metrics(world):
    settings = world.settings("colours", kind="colour_histogram")
    for command, given in (("nearid-bench", settings), ("mtg", of_mtg(settings))):
        assert run(world, command, "--scorer", "colours", **given).exit_code == 0
    summary = {
        "groups": {"all": ["sibling"]},
        "headline_group": "all",
        "benchmarks": ["nearid_bench", "mtg"],
        "seed": 0,
    }
    assert run(world, "summarise", "--scorer", "colours", scorer_id="colours", **summary).exit_code == 0
    metrics = read_json(world.layout.metrics("colours"))
    assert metrics["nearid_bench"]["fg"]["groups"]["all"]["n"] == 5
    assert metrics["mtg"]["full"]["n"] == 5


def test_another_split_goes_to_another_file(world, tmp_path):
    settings = world.settings("colours", kind="colour_histogram")
    refused = run(world, "nearid-bench", "--scorer", "colours", "--split", "val", **settings)
    assert refused.exit_code == 2 and "--output" in refused.output
    assert not world.layout.scores("colours", "nearid_bench").exists()
    output = tmp_path / "val.parquet"
    done = run(world, "nearid-bench", "--scorer", "colours", "--split", "val", "--output", str(output), **settings)
    assert done.exit_code == 0
    assert set(read_table(output)["id"].to_pylist()) == {101, 106}


def test_bad_input_is_four_lines_and_exit_code_2(world):
    world.layout.tokens("tiny", "positives", "001").unlink()
    result = run(world, "nearid-bench", "--scorer", "mean", **world.settings())
    assert result.exit_code == 2
    assert "tokens/tiny/positives/001.h5" in result.output and "extract_tokens" in result.output
