"""Memory within a leadership term: who may write what, after whatever happened to the Lease."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.clock import ManualClock
from controller.errors import Conflict, Unavailable
from controller.policy.account import Ledger
from controller.policy.model import Cause, Memory, UnitMemory
from controller.policy.reasons import Reason
from controller.ports import EMPTY, StoredMemory
from controller.routing.conclusion import conclude
from controller.service.application_status import SOONEST_S, STATUS, ApplicationStatus
from controller.service.terms import REFUSED_LATELY_S, TermRecord
from tests.support.applications import NOW, memory, snapshot

KEY = "shop/sd21"
ONE, TWO, THREE = (Memory(hold_level=level) for level in (1, 2, 3))


class Leader:
    """A leadership that a test sets."""

    def __init__(self, epoch: int) -> None:
        self.now, self.sure, self.can_outrank = epoch, True, True

    def epoch(self) -> int:
        return self.now

    def leads(self) -> bool:
        return self.sure

    def confirm(self, epoch: int, needed_s: float) -> bool:
        return self.sure and epoch == self.now

    def outrank(self, epoch: int) -> None:
        if self.can_outrank:
            self.now = max(self.now, epoch + 1)


class Shelf:
    """A store in memory, with the compare-and-swap of the real one."""

    def __init__(self) -> None:
        self.record, self.writes = StoredMemory(Memory(), "", 0), 0
        self.beside: Mapping[str, str] = {}
        self.lose_answer = self.refuse = self.unreadable = False
        self.then: StoredMemory | None = None  # what is stored right after the next read

    def load(self, application: str) -> StoredMemory:
        if self.unreadable:
            raise Unavailable("503")
        found = self.record
        if self.then is not None:
            self.record, self.then = self.then, None
        return found

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        if over.epoch > epoch or over.version != self.record.version:
            raise Conflict("somebody else wrote")
        if self.refuse:
            raise Unavailable("refused")
        self.beside, self.writes = beside, self.writes + 1
        self.record = StoredMemory(memory, str(int(over.version or 0) + 1), epoch)
        if self.lose_answer:
            raise Unavailable("no answer")
        return self.record


def saved() -> tuple[Shelf, TermRecord]:
    """A record of term 3 that has saved `ONE`, and where."""
    shelf = Shelf()
    record = TermRecord(shelf, Leader(3), KEY)
    record.load()
    record.save(ONE)
    return shelf, record


def test_the_second_save_of_a_term_stamps_what_has_not_changed() -> None:
    """So that nothing can be written any more over what an earlier leader has read. The first passes of a term write only what is new."""
    shelf = Shelf()
    old, new = TermRecord(shelf, Leader(1), KEY), TermRecord(shelf, Leader(2), KEY)
    old.load()
    old.save(ONE)
    assert new.load() == ONE
    new.save(ONE)
    assert shelf.record.epoch == 1
    new.save(ONE)
    assert (shelf.record.memory, shelf.record.epoch) == (ONE, 2)
    with pytest.raises(Conflict):
        old.save(TWO)
    assert shelf.record.memory == ONE


def test_what_an_earlier_leader_writes_before_the_stamp_is_not_lost() -> None:
    """Its request was under way when it lost the Lease. The new leader loads it instead of writing over it."""
    shelf = Shelf()
    old, new = TermRecord(shelf, Leader(1), KEY), TermRecord(shelf, Leader(2), KEY)
    old.load()
    old.save(ONE)
    new.load()
    new.save(ONE)
    old.save(TWO)
    with pytest.raises(Conflict):
        new.save(ONE)
    assert new.load() == TWO


def test_what_has_not_changed_is_not_written_twice() -> None:
    shelf = Shelf()
    record = TermRecord(shelf, Leader(1), KEY)
    record.load()
    record.save(ONE)
    version = shelf.record.version
    record.save(ONE)
    assert shelf.record.version == version


def test_nothing_is_written_without_certainty() -> None:
    shelf, leader = Shelf(), Leader(1)
    record = TermRecord(shelf, leader, KEY)
    record.load()
    leader.sure = False
    record.save(ONE)
    assert shelf.record.version == ""


def test_a_new_term_asks_for_another_reading() -> None:
    leader = Leader(1)
    record = TermRecord(Shelf(), leader, KEY)
    assert not record.current()
    record.load()
    assert record.current()
    leader.now = 2
    assert not record.current()
    record.save(ONE)  # what was read in term 1 is not written in term 2


@pytest.mark.parametrize("stored", [3, 4, 90])
def test_a_term_that_does_not_come_after_the_stored_one_is_replaced(stored: int) -> None:
    """The Lease was deleted and counts from the start: an equal number is another leader's as well."""
    shelf, leader = Shelf(), Leader(3)
    shelf.record = StoredMemory(ONE, "1", stored)
    record = TermRecord(shelf, leader, KEY)
    assert record.load() == ONE
    assert record.epoch == leader.now == stored + 1
    record.save(ONE)
    record.save(ONE)
    assert shelf.record.epoch == stored + 1


@pytest.mark.parametrize("another", ["", "shop/sd22"], ids=["ours", "another's"])
def test_a_second_record_of_a_process_knows_what_the_first_has_written(another: str) -> None:
    """The application was removed and added again. Of one that this process never wrote, the same term is another leader's."""
    shelf, leader, written = Shelf(), Leader(3), dict[str, int]()
    first = TermRecord(shelf, leader, KEY, written=written)
    first.load()
    first.save(ONE)
    assert TermRecord(shelf, leader, another or KEY, written=written).load() == ONE
    assert leader.now == (4 if another else 3)


def test_without_a_later_term_nothing_is_decided() -> None:
    """The renewal failed: the state counts as unreadable until it succeeds."""
    shelf, leader = Shelf(), Leader(3)
    shelf.record, leader.can_outrank = StoredMemory(ONE, "1", 3), False
    record = TermRecord(shelf, leader, KEY)
    with pytest.raises(Conflict, match="epoch 3, ours is 3"):
        record.load()
    assert not record.current()


@pytest.mark.parametrize("found", [Memory(), ONE], ids=["first", "later"])
@pytest.mark.parametrize("fails", [1, 3])
def test_our_own_write_with_a_lost_answer_is_gone_on_from(found: Memory, fails: int) -> None:
    """Refused as if another had written, the next memory would be lost with the mode changes in it, and found again as made by hand."""
    shelf, leader = Shelf(), Leader(3)
    if found != Memory():
        shelf.record = StoredMemory(found, "7", 2)
    record = TermRecord(shelf, leader, KEY)
    record.load()
    shelf.lose_answer = True
    with pytest.raises(Unavailable):
        record.save(TWO)
    shelf.lose_answer, shelf.refuse = False, True
    for level in range(fails):
        with pytest.raises(Unavailable):
            record.save(Memory(hold_level=10 + level))
    shelf.refuse = False
    record.save(THREE)
    assert (shelf.record.memory, leader.now) == (THREE, 3)


def test_a_write_with_a_lost_answer_is_taken_back() -> None:
    """The memory is what it was before that write, but the stored one is not."""
    shelf, record = saved()
    shelf.lose_answer = True
    with pytest.raises(Unavailable):
        record.save(TWO)
    shelf.lose_answer = False
    record.save(ONE)
    assert shelf.record.memory == ONE


def test_what_another_wrote_meanwhile_is_not_written_over() -> None:
    """A person edits the ConfigMap after our write: it is read like any other change."""
    shelf, leader = Shelf(), Leader(3)
    record = TermRecord(shelf, leader, KEY)
    record.load()
    shelf.lose_answer = True
    with pytest.raises(Unavailable):
        record.save(ONE)
    shelf.lose_answer, shelf.record = False, StoredMemory(THREE, "9", 3)
    with pytest.raises(Conflict):
        record.save(TWO)
    assert (record.load(), leader.now) == (THREE, 3)


@pytest.mark.parametrize("times", [1, 4])
def test_an_object_that_somebody_labels_is_saved_over(times: int) -> None:
    """Its memory is ours. To load it would lose what was done since: our own failover would be found as one made by hand."""
    shelf, record = saved()
    for number in range(times):
        shelf.record = replace(shelf.record, version=f"{100 + number}")
        with pytest.raises(Unavailable, match="saved over"):
            record.save(TWO)
    assert record.current()
    record.save(TWO)
    assert (shelf.record.memory, shelf.record.epoch) == (TWO, 3)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(StoredMemory(ONE, "9", 4), id="a later leader's"),
        pytest.param(StoredMemory(THREE, "9", 3), id="edited"),
        pytest.param(StoredMemory(ONE, "", 3), id="deleted, to begin again from the Ingress"),
    ],
)
def test_an_object_with_another_memory_is_not(found: StoredMemory) -> None:
    shelf, record = saved()
    shelf.record = found
    with pytest.raises(Conflict):
        record.save(TWO)
    assert shelf.record is found


def test_a_label_while_the_object_cannot_be_read_drops_no_memory() -> None:
    """Nobody knows who wrote it: the next save asks again."""
    shelf, record = saved()
    shelf.record, shelf.unreadable = replace(shelf.record, version="100"), True
    with pytest.raises(Unavailable, match="not known"):
        record.save(TWO)
    shelf.unreadable = False
    with pytest.raises(Unavailable, match="saved over"):
        record.save(TWO)
    record.save(TWO)
    assert shelf.record.memory == TWO


def test_a_memory_of_a_later_term_is_loaded_and_not_saved_over() -> None:
    """It was loaded while this replica did not lead, so that nothing outranked it yet."""
    shelf, leader = Shelf(), Leader(3)
    shelf.record, leader.sure = StoredMemory(ONE, "1", 7), False
    record = TermRecord(shelf, leader, KEY)
    record.load()
    leader.sure = True
    for _ in range(2):
        with pytest.raises(Conflict):
            record.save(TWO)
    record.load()
    record.save(TWO)
    assert (shelf.record.memory, leader.now) == (TWO, 8)


def test_a_write_that_lands_late_is_our_own() -> None:
    """The answer was lost, a read still finds what was before, and then the write is carried out after all."""
    shelf, record = saved()
    before, shelf.lose_answer = shelf.record, True
    with pytest.raises(Unavailable):
        record.save(TWO)
    late, shelf.record, shelf.lose_answer = shelf.record, before, False
    shelf.then = late
    with pytest.raises(Unavailable, match="saved over"):
        record.save(THREE)
    record.save(THREE)
    assert shelf.record.memory == THREE


def test_a_standby_reads_without_claiming_anything() -> None:
    shelf, leader = Shelf(), Leader(0)
    shelf.record, leader.sure = StoredMemory(ONE, "1", 7), False
    assert TermRecord(shelf, leader, KEY).load() == ONE
    assert leader.now == 0


def test_a_pool_at_its_limit_is_stored_once_a_minute() -> None:
    """It refuses in every pass, for as long as it stands: an hour of it was 240 writes. Anything else is stored at once."""
    shelf = Shelf()
    record = TermRecord(shelf, Leader(1), KEY)
    record.load()
    for second in range(0, 3600, 15):
        record.save(Memory(units={"inf2": UnitMemory(1000.0 + second, Cause.QUOTA)}))
        assert 1000.0 + second - shelf.record.memory.units["inf2"].last_failure_at < REFUSED_LATELY_S
    assert shelf.record.version == "60"
    record.save(Memory(units={"inf2": UnitMemory(1000.0 + 3585, Cause.CAPACITY)}))
    assert shelf.record.version == "61"
    record.save(Memory(units={}))
    assert shelf.record.version == "62"


class Written:
    """A term record with a status, whose clock is moved by hand."""

    def __init__(self, fleet: int = 1) -> None:
        self.shelf, self.clock = Shelf(), ManualClock(NOW)
        self.status = ApplicationStatus(KEY, self.clock, lambda: fleet)
        self.record = TermRecord(self.shelf, Leader(1), KEY, self.status)
        self.memory = self.record.load()
        self.show()
        self.record.save(self.memory)

    def show(self, reason: Reason = Reason.DEMAND_MET, spend: float = 0.0) -> None:
        """One more pass ended with this."""
        made = snapshot()
        decision = replace(conclude(memory(), made).decision, reason=reason)
        self.status.show(made, decision, Ledger(spend=spend))

    def pass_by(self, seconds: float) -> int:
        """Time passes, and the memory that has not changed is to be saved.

        Returns:
            How many writes that took.
        """
        self.clock.advance(seconds)
        before = self.shelf.writes
        self.record.save(self.memory)
        return self.shelf.writes - before

    def shown(self) -> dict[str, Any]:
        """The status as it is stored."""
        found: dict[str, Any] = json.loads(self.shelf.beside[STATUS])
        return found


def test_the_status_is_stored_with_the_memory() -> None:
    """No write of its own, and nothing of the other applications."""
    made = Written()
    assert made.shelf.writes == 1
    assert (made.shown()["reason"], made.shown()["ledger"]["spendDollars"]) == (str(Reason.DEMAND_MET), 0.0)


@pytest.mark.parametrize(("fleet", "after_s"), [pytest.param(100, SOONEST_S, id="a-hundred"), pytest.param(1000, 375.0, id="a-thousand")])
def test_another_reason_is_stored_soon_and_what_counts_is_not(fleet: int, after_s: float) -> None:
    """Within a minute, or within six where a thousand may differ at once."""
    made = Written(fleet)
    made.show(spend=0.5)
    assert made.pass_by(SOONEST_S - 1) == 0
    made.show(Reason.PAUSED)
    assert made.pass_by(after_s) == 1
    made.show()
    assert [made.pass_by(SOONEST_S / 2), made.pass_by(after_s)] == [0, 1]
    assert made.shown()["reason"] == str(Reason.DEMAND_MET)


def test_an_account_alone_is_stored_every_minute() -> None:
    """`failoverctl status` shows it without reaching the pod."""
    made = Written(1)
    made.show(spend=5.0)
    assert made.pass_by(SOONEST_S - 1) == 0
    assert made.pass_by(1) == 1
    assert made.shown()["ledger"]["spendDollars"] == 5.0


def test_the_accounts_of_a_thousand_are_as_many_writes_at_any_time() -> None:
    """A thousand an hour, from the time on at which the first may follow what all began with; each is written once an hour."""
    clock = ManualClock(NOW)
    statuses = [ApplicationStatus(f"shop/app-{number:04d}", clock, lambda: 1000) for number in range(1000)]
    made = snapshot()
    decision = conclude(Memory(), made).decision
    for status in statuses:
        status.show(made, decision, Ledger())
        assert status.due(Memory())
        status.tried(Memory(), written=True)
    counts, written = [], Counter[int]()
    for _ in range(3 * 6):
        before = written.total()
        for _ in range(12):
            clock.advance(50.0)
            due = [number for number, status in enumerate(statuses) if status.due(Memory())]
            written.update(due)
            for number in due:
                statuses[number].tried(Memory(), written=True)
        counts.append(written.total() - before)
    assert counts[0] < 167
    assert all(130 <= count <= 200 for count in counts[1:]), counts
    assert set(written.values()) <= {2, 3}
    assert len(written) == 1000


def test_a_status_that_cannot_be_written_loses_no_memory() -> None:
    """It is tried again after a minute. An answer that was lost does not make the next memory a conflict."""
    made = Written()
    made.show(Reason.PAUSED)
    made.shelf.lose_answer = True
    assert made.pass_by(SOONEST_S) == 1, "it was stored, although nobody knows"
    made.shelf.lose_answer = False
    made.record.save(TWO)
    assert made.shelf.record.memory == TWO
    made.memory = TWO
    made.shelf.refuse = True
    made.show()
    assert made.pass_by(SOONEST_S) == 0
    made.shelf.refuse = False
    assert [made.pass_by(SOONEST_S / 2), made.pass_by(SOONEST_S / 2)] == [0, 1]


def test_a_standby_writes_no_status() -> None:
    """It has decided as well."""
    made = Written()
    standby = TermRecord(made.shelf, Leader(1), KEY, status := ApplicationStatus(KEY, made.clock, lambda: 1))
    standby._leadership.sure = False  # type: ignore[attr-defined]
    standby.load()
    status.show(snapshot(), conclude(memory(), snapshot()).decision, Ledger())
    standby.save(made.memory)
    assert made.shelf.writes == 1
