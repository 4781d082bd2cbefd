"""ESC-10 as GitHub packs it: one folder of Ogg Vorbis clips per class; stands in for AudioSet in the demo."""

from collections.abc import Iterator

from respfm.demo.cohort import Cohort, generator
from respfm.demo.containers import StandIns, vorbis, zip_archive
from respfm.demo.scenes import SCENE_RATE, scene


def stand_ins(cohort: Cohort) -> StandIns:
    """File contents by URL pattern."""
    return {"*/ESC-10/archive/master.zip": lambda: zip_archive(_members(cohort))}


def _members(cohort: Cohort) -> Iterator[tuple[str, bytes]]:
    for clip in cohort.general.itertuples():
        sound = scene(generator(cohort.seed, "esc10", clip.name), clip.scene, 5.0)
        yield f"ESC-10-master/{clip.folder}/{clip.name}.ogg", vorbis(sound, SCENE_RATE)
