"""The words of the toy kitchen: its verbs and nouns in the wording of either view."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One verb or noun.

    name: of the motion or the shape.
    ego: words of the ego narrations, the class key first; empty: it has no ego class.
    exo: word of the exo annotations; empty: it is never seen there.
    instances: more words of the class in the ego class table.
    category: in the ego class table.
    place: exo noun that may follow the object (`put${s0}@cup:{m1}@table`).
    """

    name: str
    ego: tuple[str, ...] = ()
    exo: str = ""
    instances: tuple[str, ...] = ()
    category: str = ""
    place: str = ""

    @property
    def in_both(self) -> bool:
        return bool(self.ego and self.exo)


VERBS = (
    Word("take", ("take", "pick-up", "grab"), "get", ("get", "fetch"), "retrieve"),
    Word("put", ("put", "put-down"), "put", ("place", "lay"), "leave", ":{m1}@table"),
    Word("open", ("open",), "open", ("open-up",), "access"),
    Word("close", ("close", "shut"), "close", (), "block"),
    Word("wash", ("wash", "rinse"), "wash", ("clean",), "clean", ":{s1}@sink"),
    Word("shake", ("shake",), "", ("jiggle",), "manipulate"),
    Word("fill", ("fill",), "fill", ("fill-up",), "merge"),
    Word("empty", ("empty",), "empty", ("empty-out",), "split"),
    Word("point", exo="point-to"),
    Word("chop", exo="cut"),
)
NOUNS = (
    Word("bottle", ("bottle",), "bottle", ("bottle:water", "bottle:oil"), "containers"),
    Word("box", ("box", "lunchbox"), "box", ("tupperware",), "containers"),
    Word("bag", ("bag",), "bag", ("bag:plastic",), "containers"),
    Word("cup", ("cup", "mug"), "mug", ("cup:tea",), "crockery"),
    Word("jar", ("jar",), "jar", ("jar:honey",), "containers"),
    Word("kettle", ("kettle",), "kettle", ("boiler",), "appliances"),
    Word("pot", ("pot",), "pot", ("pot:pasta",), "cookware"),
    Word("can", ("can", "tin"), "", ("can:tomato",), "containers"),
    Word("bowl", exo="bowl"),
    Word("watermelon", exo="watermelon"),
)
EGO_VERBS = tuple(word for word in VERBS if word.ego)
EGO_NOUNS = tuple(word for word in NOUNS if word.ego)
# Exo nouns that are places, never handled; none of them has an ego class.
PLACES = ("sink", "table")
NULL_VERB = "null"
NULL_HOI = "null$"
TASKS = ("clean up", "make tea", "rest")


def exo_phrase(verb: Word, nouns: tuple[Word, ...], with_place: bool) -> str:
    """Hand-object interaction in the grammar of the exo set: `put${s0}@mug|jar:{m1}@table`."""
    objects = "|".join(noun.exo for noun in nouns)
    return f"{verb.exo}${{s0}}@{objects}{verb.place if with_place else ''}"
