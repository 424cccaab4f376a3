"""The collector waits for what is imported, works as usual then, and rests at the end."""

import subprocess
import sys

CODE = """
import atexit, gc, weakref
from inkwash.cli.garbage import FIRST, LATER, spare_what_stays

class Ring: pass

atexit.register(lambda: print(gc.get_freeze_count() > 1000))  # registered first, so it runs last
spare_what_stays()
kept = [[] for _ in range(FIRST // 2)]
assert gc.get_threshold()[0] == FIRST and gc.get_count()[0] > FIRST // 3, "nothing was looked through"
kept += [[] for _ in range(FIRST)]
assert gc.get_threshold()[0] == LATER
ring = Ring()
ring.itself, seen = ring, weakref.ref(ring)
del ring
kept += [[] for _ in range(2 * LATER)]
assert seen() is None, "and what is lost is found"
"""


def test_it_waits_works_and_rests():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
