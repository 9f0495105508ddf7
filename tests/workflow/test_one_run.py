"""The workflow locks its results folder while it runs; dry runs are let in."""

from nearid.workflow import run_lock


def test_snakemake_waits_for_no_other_run(project):
    results = project.root / "results/test"
    table = results / "paper/tables/table1.md"
    table.unlink()
    configs = ["--configfile", *project.configs(())]
    with run_lock.held(results):
        done = project.snakemake("--nolock", *configs, "--", "results/test/paper/tables/table1.md")
        assert done.returncode != 0 and "another run works here" in done.stdout + done.stderr
        assert not table.is_file()
        assert "make_table" in project.plan()
    done = project.snakemake(*configs, "--", "results/test/paper/tables/table1.md")
    assert done.returncode == 0, done.stdout + done.stderr
    assert table.is_file()
