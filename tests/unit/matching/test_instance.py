"""The file format and the command."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from services.matching.solver.__main__ import main
from services.matching.solver.instance import InstanceError, load_instance
from tests.unit.matching import full_network, instances, oracle


def changed(**changes: Any) -> dict[str, Any]:
    return instances.instance(1, 2, 2) | changes


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "The instance says format None: expected 'hustings-match/1'."),
        (changed(format="other/9"), "The instance says format 'other/9'"),
        (changed(horizon={"days": 7, "slot_minutes": 30}), "The instance lacks the field 'start_utc'"),
        (changed(horizon={"start_utc": "2027-01-11T00:00:00", "days": 7, "slot_minutes": 30}), "lacks its offset"),
        (changed(candidates=[{"id": "c"}]), "The instance lacks the field"),
        (changed(candidates=[{**instances.instance(1, 1, 0)["candidates"][0], "tz": "Nowhere"}]), "Unknown time zone"),
        (changed(candidates=instances.instance(1, 1, 0)["candidates"] * 2), "Candidate c00000 appears twice"),
        (changed(weights={**instances.WEIGHTS, "base": 1.5}), "Weight 'base' must be a whole number"),
        (changed(volunteers=3), "A field of the instance has the wrong form"),
    ],
)
def test_load_instance_says_what_to_mend(raw: Any, sentence: str) -> None:
    with pytest.raises(InstanceError) as caught:
        load_instance(raw)
    assert sentence in str(caught.value)


def test_window_that_ends_where_it_starts_is_empty() -> None:
    raw = instances.instance(1, 1, 0)
    raw["candidates"][0]["avail"] = [{"dow": 0, "start": "18:00", "end": "00:00"}]
    assert load_instance(raw).candidates[0].windows == ()


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_command_writes_a_legal_answer(pack: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = instances.dense(2)
    path = tmp_path / "instance"
    path.write_bytes(pack(json.dumps(raw).encode()))
    assert main([str(path), "--no-floors", "--seed", "3", "--deadline", "60"]) == 0
    printed = capsys.readouterr()
    broken, points = oracle.judge(raw, [json.loads(line) for line in printed.out.splitlines()])
    assert broken == set()
    best = full_network.optimum(raw)
    assert 0.995 * best <= points < best
    assert f"matched by flow, utility {points}, at least 99.83% of the optimum" in printed.err


def test_command_refuses_unreadable_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "missing")]) == 2
    assert "missing: No such file or directory; check the path." in capsys.readouterr().err
    broken = tmp_path / "broken.json.gz"
    broken.write_bytes(gzip.compress(b"{}")[:-9])
    assert main([str(broken)]) == 2
    assert "is not JSON, plain or gzipped" in capsys.readouterr().err
    broken.write_text("[1]")
    assert main([str(broken)]) == 2
    assert capsys.readouterr().err == "error: The instance says format None: expected 'hustings-match/1'.\n"


@pytest.mark.parametrize("flags", [["--deadline", "0"], ["--seed", "-1"]])
def test_command_refuses_senseless_flags(flags: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "any"), *flags])
    assert caught.value.code == 2
