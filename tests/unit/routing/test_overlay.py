"""What changed since the memory map was written, and what was found in it lately."""

from __future__ import annotations

from signalbox.domain.screening import Page
from signalbox.routing.overlay import Kept, Layer, Overlay
from signalbox.store.directory import Batch
from support.directories import digits, line, number


def test_the_newest_of_what_changed_stays_until_the_map_has_it() -> None:
    layer: Layer[str, int] = Layer(lambda key: "vowels" if key in "aeiou" else "others")
    layer.put("a", 1, 5)
    layer.put("b", 2, 6)
    layer.put("a", None, 8)
    layer.prune(6)
    assert {key: held.item for key, held in layer.held.items()} == dict(layer.below("vowels")) == {"a": None}
    assert not list(layer.below("others"))
    layer.prune(7)
    assert "a" in layer.held
    layer.prune(8)
    layer.prune(9)
    assert not layer.held
    assert not list(layer.below("vowels"))


def test_what_is_put_as_a_batch_comes_out_as_one() -> None:
    batch = Batch({digits(1): number(1), digits(2): None}, {("acme", "a"): line("a")}, {"p/1": 7, "p/2": 0})
    batch.objects = {"rules/flows/acme/main": b"stored", "rules/flows/acme/old": None}
    batch.lists = {"rules/listpages/acme/spam/001": Page.of(["x"]), "rules/listpages/acme/spam/002": None}
    made = Overlay()
    made.put(batch, 7)
    assert made.batch() == batch
    assert len(made) == 7
    made.prune(7)
    assert made.batch() == Batch()


def test_what_was_not_asked_for_longest_makes_room() -> None:
    kept: Kept[str, int | None] = Kept(3, once=True)
    for position, key in enumerate("abc"):
        kept.put(key, position)
    assert kept.get("a", -1) == 0
    kept.put("d", 3)
    assert [kept.get(key, -1) for key in "abcd"] == [0, -1, 2, 3]
    kept.drop("a")
    kept.drop("x")
    assert [kept.get(key, -1) for key in "acd"] == [-1, 2, 3]
    kept.put("e", None)
    assert kept.get("e", -1) is None, "that there is nothing is known too"
    kept.clear()
    assert kept.get("d", -1) == -1


def test_only_what_is_found_again_is_kept() -> None:
    kept: Kept[str, int] = Kept(3)
    kept.put("a", 1)
    assert kept.get("a", -1) == 1, "the very last"
    kept.put("b", 2)
    assert (kept.get("a", -1), kept.get("b", -1)) == (-1, 2)
    kept.put("a", 3)
    kept.put("c", 4)
    assert (kept.get("a", -1), kept.get("b", -1), kept.get("c", -1)) == (3, -1, 4)
    kept.drop("c")
    assert (kept.get("a", -1), kept.get("c", -1)) == (3, -1)
    kept.put("d", 5)
    kept.clear()
    assert (kept.get("a", -1), kept.get("d", -1)) == (-1, -1)
