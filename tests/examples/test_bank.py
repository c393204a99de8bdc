"""The bank: every account adds up, although few are awake at a time."""

from __future__ import annotations

import pytest

from actorkit import open_system, run
from examples.bank import tree
from examples.bank.actors import AWAKE, Account, Auditor
from examples.bank.orders import Deposit


def test_a_morning_at_the_bank_ends_by_itself_with_balanced_books(capsys: pytest.CaptureFixture[str]) -> None:
    report = run(tree)

    assert report.outcome == "completed"
    assert report.ledger.dead_lettered_by == {"validation": report.ledger.dead_lettered}
    assert report.ledger.dead_lettered > 0
    report.ledger.check()
    assert "accounts hold" in capsys.readouterr().out


async def test_accounts_that_were_put_aside_know_what_they_hold() -> None:
    async with open_system(tree) as system:
        await system.wait()
        balances = await system.ref(Auditor).ask(Auditor.in_balances, None)
        awake = system.supervisor("root/bank/account").which_children()

        assert len(awake) <= AWAKE < len(balances)
        for account, balance in list(balances.items())[:300]:
            assert await system.ref(Account).ask(Account.in_order, Deposit(account, 0)) == balance
