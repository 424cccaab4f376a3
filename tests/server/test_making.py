"""What a picture's file says by the time it is delivered."""

import pytest
from PIL import Image

from inkwash.inference.provenance.read import Traces, read
from inkwash.inference.provenance.write import COMPOSITE, ENHANCED, TRAINED, Provenance
from inkwash.server.making import Made, deliver
from inkwash.server.store import Store

CN = Provenance(label="cn", producer="001191110000MA00000001", visible=True)


@pytest.mark.parametrize(
    "edit, before, source",
    [("resize", None, ENHANCED), ("resize", TRAINED, TRAINED), ("resize", COMPOSITE, COMPOSITE), ("upscale", None, COMPOSITE)],
)
def test_a_label_is_written_wherever_an_ai_had_to_do_with_the_picture(tmp_path, edit, before, source):
    """Interpolation of a photograph is no AI's work; that of a picture which a model made does not make it less so."""
    picture, store = Image.new("RGB", (64, 64), "red"), Store(tmp_path)
    made = Made([picture], [{"model": "lanczos", "edit": edit, "scale": 2}], original=Traces())
    (told,) = deliver({"source": before}, made, store, CN)["pictures"]
    path = store.path(told["file"])
    traces = read(path)
    labelled = source != ENHANCED
    assert traces.source == source and bool(traces.label) == labelled
    assert (Image.open(path).convert("RGB").tobytes() != picture.tobytes()) == labelled, "the mark"


def test_who_passes_a_label_on_is_named_after_interpolation_too(tmp_path):
    first = {"Label": "1", "ContentProducer": "SOMEBODY", "ProduceID": "7", "ContentPropagator": "SOMEBODY", "PropagateID": "7"}
    made = Made([Image.new("RGB", (64, 64))], [{"model": "lanczos", "edit": "resize", "scale": 2}], original=Traces(labels=(first,)))
    store = Store(tmp_path)
    (told,) = deliver({"source": TRAINED}, made, store, CN)["pictures"]
    (label,) = read(store.path(told["file"])).labels
    assert (label["ContentProducer"], label["ContentPropagator"]) == ("SOMEBODY", CN.producer)
