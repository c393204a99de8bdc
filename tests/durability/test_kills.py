"""Pipelines in processes of their own, killed for real."""

from __future__ import annotations

from pathlib import Path

from tests.durability.killing import Campaign


def test_after_fifty_kills_everything_has_had_its_effect_once(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=20_240)

    campaign.run(kills=50)

    assert campaign.killed == 50
    assert campaign.done >= 2  # with FULL, and with NORMAL
