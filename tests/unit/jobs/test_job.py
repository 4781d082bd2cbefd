"""What a job does around its script; tests/faults has full disks and damaged files."""

import os
import time
from types import SimpleNamespace

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


def test_only_inputs_that_a_job_wrote_are_dated_back(tmp_path):
    ours, users, tomorrow = tmp_path / "table.csv", tmp_path / "checkpoint.pth", time.time() + 86_400
    for path in (ours, users):
        path.touch()
        os.utime(path, (tomorrow, tomorrow))
    write_checksums([ours])
    with job(SimpleNamespace(log=[tmp_path / "log"], input=[ours, users], output=[], params={})):
        assert ours.stat().st_mtime < time.time()
        assert users.stat().st_mtime == tomorrow
