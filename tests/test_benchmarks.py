"""The benchmarks run; what they measure is for people to read, on a quiet machine."""

from __future__ import annotations

import re

import pytest

from benchmarks import __main__ as benchmarks


def test_the_benchmarks_print_a_ratio_for_each_candidate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--repeats", "2", "--messages", "200"])
    monkeypatch.setattr("logging.disable", lambda level: None)

    benchmarks.main()

    rows = re.findall(r"^  (\S.*?)  +[\d,]+/s .* (\d+\.\d{3})$", capsys.readouterr().out, re.MULTILINE)
    ways = ["trio memory channel", "actors, async handler", "actors, plain handler"]
    shares = ["0 %", "3 %", "50 %", "0 %, 100,000 dead letters"]
    assert [name for name, _ in rows] == [*ways, *shares]
    assert [ratio for name, ratio in rows if name in {"trio memory channel", "0 %"}] == ["1.000", "1.000"]


def test_a_share_of_bad_messages_needs_whole_hundreds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--messages", "150"])

    with pytest.raises(SystemExit):
        benchmarks.main()

    assert "a multiple of 100 messages" in capsys.readouterr().err
