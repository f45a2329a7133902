"""Memory within a leadership term: who may write what, after whatever happened to the Lease."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.errors import Conflict, Unavailable
from controller.policy.model import Cause, Memory, UnitMemory
from controller.ports import EMPTY, StoredMemory
from controller.service.known_alerts import ALERTS, KnownAlerts, stored_alerts
from controller.service.terms import REFUSED_LATELY_S, TermRecord
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, alert_of

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
    """A term record with alerts, whose clock is moved by hand."""

    def __init__(self, fleet: int = 1) -> None:
        self.shelf, self.clock = Shelf(), ManualClock(NOW)
        self.known = KnownAlerts(KEY, self.clock, lambda: fleet)
        self.record = TermRecord(self.shelf, Leader(1), KEY, self.known)
        self.memory = self.record.load()
        self.known.know(())
        self.record.save(self.memory)

    def pass_by(self, seconds: float) -> int:
        """Time passes, and the memory that has not changed is to be saved.

        Returns:
            How many writes that took.
        """
        self.clock.advance(seconds)
        before = self.shelf.writes
        self.record.save(self.memory)
        return self.shelf.writes - before

    def stored(self) -> list[str]:
        """The keys of the alerts that are stored."""
        return [one.key for one in stored_alerts(self.shelf.beside[ALERTS])]


SHOWN = alert_of("left/inf2", "warning", "a floor stays")


def test_the_alerts_are_stored_with_the_memory() -> None:
    """No write of their own."""
    made = Written()
    made.known.know((SHOWN,))
    made.memory = TWO
    assert made.pass_by(0.0) == 1
    assert made.stored() == [SHOWN.key]


@pytest.mark.parametrize(("fleet", "after_s"), [pytest.param(1, 5.0, id="one"), pytest.param(1000, 125.0, id="a-thousand")])
def test_other_alerts_alone_are_stored_soon(fleet: int, after_s: float) -> None:
    """Within seconds, or two minutes where those of a thousand may differ at once. The same alerts are no write."""
    made = Written(fleet)
    made.known.know((SHOWN,))
    assert made.pass_by(4.0) == 0
    assert made.pass_by(after_s) == 1
    made.known.know((SHOWN,))
    assert made.pass_by(10 * after_s) == 0
    made.known.know(())
    assert made.pass_by(0.0) == 1
    assert made.stored() == []


def test_the_alerts_of_a_thousand_are_not_written_at_once() -> None:
    """Each has a moment of its own."""
    clock = ManualClock(NOW)
    known = [KnownAlerts(f"shop/app-{number:04d}", clock, lambda: 1000) for number in range(1000)]
    for one in known:
        one.know(())
        one.tried(written=True)
        one.know((SHOWN,))
    counts = []
    for _ in range(13):
        clock.advance(10.0)
        due = [one for one in known if one.due()]
        for one in due:
            one.tried(written=True)
        counts.append(len(due))
    assert sum(counts) == 1000
    assert max(counts) <= 300, counts


def test_alerts_that_cannot_be_written_lose_no_memory() -> None:
    """They are tried again. An answer that was lost does not make the next memory a conflict."""
    made = Written()
    made.known.know((SHOWN,))
    made.shelf.lose_answer = True
    assert made.pass_by(5.0) == 1, "they were stored, although nobody knows"
    made.shelf.lose_answer = False
    made.record.save(TWO)
    assert made.shelf.record.memory == TWO
    made.memory = TWO
    made.shelf.refuse = True
    made.known.know(())
    assert made.pass_by(5.0) == 0
    made.shelf.refuse = False
    assert [made.pass_by(2.5), made.pass_by(2.5)] == [0, 1]


def test_a_standby_writes_no_alerts() -> None:
    """It has decided as well."""
    made = Written()
    standby = TermRecord(made.shelf, Leader(1), KEY, known := KnownAlerts(KEY, made.clock, lambda: 1))
    standby._leadership.sure = False  # type: ignore[attr-defined]
    standby.load()
    known.know((SHOWN,))
    standby.save(made.memory)
    assert made.shelf.writes == 1
