"""What a job does around its script; tests/faults has full disks and damaged files."""

import os
import time
from types import SimpleNamespace

import pytest
from respfm.jobs import job as job_module
from respfm.jobs.checksums import write_checksums
from respfm.jobs.job import job


def test_a_script_gets_its_part_of_the_configuration(tmp_path):
    script = SimpleNamespace(log=[tmp_path / "logs" / "log"], input=[], output=[], params={"cfg": '{"seed": 3}'})
    with job(script) as cfg:
        print("seed", cfg["seed"])
    assert (tmp_path / "logs" / "log").read_text() == "seed 3\n"
    script.params = {}
    with job(script) as cfg:
        assert cfg == {}


def test_only_results_and_files_of_the_repository_are_dated_back(tmp_path, monkeypatch, capsys):
    result, resource, own = tmp_path / "table.csv", tmp_path / "resources" / "style", tmp_path / "checkpoint.pth"
    monkeypatch.setattr(job_module, "RESOURCES", resource.parent)
    resource.parent.mkdir()
    tomorrow = time.time() + 86_400
    for path in (result, resource, own):
        path.touch()
        os.utime(path, (tomorrow, tomorrow))
    write_checksums([result])
    script = SimpleNamespace(log=[tmp_path / "log"], input=[result, resource], output=[], params={})
    with job(script):
        assert max(result.stat().st_mtime, resource.stat().st_mtime) < time.time()
    script.input.append(own)
    with pytest.raises(SystemExit), job(script):
        pytest.fail("the job began")
    assert f"{own} is dated in the future" in capsys.readouterr().err
    assert own.stat().st_mtime == tomorrow
