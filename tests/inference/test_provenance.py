"""What pictures say of their making: read back by us, by a checker of the Chinese standard, and as AUTOMATIC1111's web UI reads it."""

import json
import random
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from annex_e import first_label_of, infotext, jpeg_segments, label_of, packets, png_chunks, riff_chunks
from inkwash.core.errors import ConfigError, DataError
from inkwash.inference.provenance import exif, xmp
from inkwash.inference.provenance.containers import XMP_HEAD, XMP_KEYWORD, with_segments
from inkwash.inference.provenance.infotext import parameters
from inkwash.inference.provenance.read import IPTC, Traces, carried, read, read_facts
from inkwash.inference.provenance.write import PLAIN, Provenance, encode, source_of
from marked import CN, FACTS, FORMATS, picture

by_format = pytest.mark.parametrize("format", FORMATS)


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


# Round trips


@by_format
def test_facts_come_back_from_every_format(format):
    traces = read(encode(picture(), FACTS, format, CN))
    assert traces.facts == FACTS and traces.source == "trainedAlgorithmicMedia" and not traces.signed
    assert traces.parameters == parameters(FACTS) and traces.mime == f"image/{format}"
    assert read_facts(encode(picture(), FACTS, format)) == FACTS
    assert read(encode(picture(), None, format)) == read(encode(picture(), {}, format)), "nothing is made up"
    assert packets(encode(picture(), None, "png")) == []


@by_format
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels_come_back(format, mode):
    made, data = picture(mode), encode(picture(mode), FACTS, format)
    if format == "png":
        assert opened(data).mode == mode and opened(data).tobytes() == made.tobytes()
    elif format == "webp":
        assert opened(data).tobytes() == made.convert(opened(data).mode).tobytes(), "lossless unless a quality is asked for"
    smooth = Image.linear_gradient("L").convert(mode).resize((64, 64))
    near = np.abs(np.asarray(opened(encode(smooth, FACTS, format, quality=90)).convert("L"), int) - np.asarray(smooth.convert("L"), int))
    assert near.mean() < 3
    assert opened(encode(smooth, FACTS, "jpeg")).mode == ("L" if mode == "L" else "RGB")
    assert len(encode(smooth, FACTS, "jpeg", quality=0)) <= len(encode(smooth, FACTS, "jpeg", quality=1)), "0 is asked for too"


def test_what_shows_through_is_white_in_a_jpeg_and_palettes_are_looked_up():
    clear = Image.new("RGBA", (16, 16), (200, 0, 0, 0))
    assert np.asarray(opened(encode(clear, None, "jpeg"))).min() > 250
    assert np.asarray(opened(encode(Image.new("RGB", (8, 8), "red").convert("P"), None, "webp")))[0, 0].tolist() == [255, 0, 0]


WORDS = ["猫", "a", '"', "\\", ",", ":", "\n", " ", "<x>", "&", "]]>", "🐈", "\u2028", "é", "Steps", "=", "{", "%s", "\t", "'"]


@pytest.mark.parametrize("seed", range(40))
def test_any_text_goes_round_in_any_format(seed):
    rng = random.Random(seed)

    def text() -> str:
        return "".join(rng.choices(WORDS, k=rng.randint(1, 25)))

    facts = {"prompt": "a" + text() + "b", "negative": "n" + text() + "e", "seed": seed, "model": text(), "size": "24x16", "solver": text()}
    facts |= {f"option {rng.randint(0, 9)}": text() for _ in range(3)}
    for format in FORMATS:
        traces = read(encode(picture(), facts, format, CN))
        assert traces.facts == facts
    told = infotext(traces.parameters)
    assert [line.strip() for line in facts["prompt"].split("\n")] == told["Prompt"].split("\n")
    assert [line.strip() for line in facts["negative"].split("\n")] == told["Negative prompt"].split("\n")
    assert (
        told["Seed"] == str(seed) and told.get("Sampler", "") == facts["solver"].strip() and told.get("Model", "") == facts["model"].strip()
    )


def test_characters_that_no_format_has_room_for_do_no_harm():
    facts = {"prompt": "a\x00b\x1b\ud800c\ufffe", "seed": 1, "model": "m"}
    for format in FORMATS:
        assert read(encode(picture(), facts, format)).facts == facts
        assert read(encode(picture(), facts, format)).parameters.startswith("abc\nSeed: 1")


# The text that other programs read


def test_the_web_ui_reads_our_parameters():
    told = infotext(parameters(FACTS))
    assert told["Prompt"] == FACTS["prompt"] and told["Negative prompt"] == "狗, cats"
    assert (told["Steps"], told["Sampler"], told["CFG scale"], told["Seed"]) == ("14", "dpmpp-2m", "2.5", "7")
    assert (told["Size"], told["Model"], told["Clamp"], told["Many"]) == ("24x16", "水墨-64", "True", "[1, 2]")
    assert told["Option K"] == "x: y" and "Nothing" not in told and "Class" not in told
    last = parameters(FACTS).split("\n")[-1]
    assert last.startswith("Steps: 14, Sampler: dpmpp-2m, CFG scale: 2.5, Seed: 7, Size: 24x16, Model: 水墨-64, Kind: diffusion, ")
    assert parameters({"seed": 1, "class": "cat", "size": "8x8"}).startswith("cat\nSeed: 1, Size: 8x8, Version: Inkwash ")
    assert infotext(parameters({"seed": 1, "size": "8x8"}))["Prompt"] == ""


@pytest.mark.parametrize("format, blocks", [("jpeg", jpeg_segments), ("webp", riff_chunks)])
def test_exif_holds_the_text_as_the_web_ui_writes_it(format, blocks):
    data = encode(picture(), FACTS, format)
    comment = opened(data).getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\x00" and comment[8:].decode("utf-16-be") == parameters(FACTS)
    assert sum(b"UNICODE\x00" in payload for _, payload in blocks(data)) == 1


def test_foreign_comments():
    for order, mark in (("le", b"II"), ("be", b"MM")):
        exif_ = Image.Exif()
        exif_.endian = "<" if order == "le" else ">"
        exif_.get_ifd(0x8769)[0x9286] = b"UNICODE\x00" + "a dog\nSteps: 3, Seed: 1".encode(f"utf-16-{order}")
        block = exif_.tobytes().removeprefix(b"Exif\x00\x00")
        assert block[:2] == mark
        assert exif.comment(block) == "a dog\nSteps: 3, Seed: 1"
    out = BytesIO()
    picture().save(out, "JPEG", exif=exif_.tobytes())
    assert read_facts(out.getvalue()) == {"parameters": "a dog\nSteps: 3, Seed: 1"}
    camera = with_segments(encode(picture(), None, "jpeg"), [b"Exif\x00\x00" + exif.with_comment("holiday, 2024")])
    assert read_facts(camera) is None, "a comment of a camera's is no text of this kind"
    for block in (b"", b"MM", b"MM\x00*", b"II*\x00\xff\xff\xff\xff", b"MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(40), bytes(64)):
        assert exif.comment(block) == ""


# The label of GB 45438-2025


@by_format
def test_a_strict_checker_reads_our_label(format):
    label = first_label_of(encode(picture(), FACTS, format, CN))
    assert label["Label"] == "1" and label["ContentProducer"] == CN.producer and len(label["ProduceID"]) == 32
    assert read(encode(picture(), FACTS, format, CN)).labels == (label,)
    assert first_label_of(encode(picture(), None, format, CN)) == label, "also where nothing else is known"
    other = first_label_of(encode(picture(seed=1), FACTS, format, CN))
    assert other["ProduceID"] != label["ProduceID"] == first_label_of(encode(picture(), FACTS, format, CN))["ProduceID"]
    apart = label_of(encode(picture(), FACTS, format, Provenance(label="cn", producer="A", propagator="B")))
    assert (apart["ContentProducer"], apart["ContentPropagator"]) == ("A", "B") and apart["PropagateID"] == apart["ProduceID"]


@by_format
@pytest.mark.parametrize("after", FORMATS)
def test_one_label_after_two_passes_of_which_the_first_made_it(format, after):
    once = encode(picture(), FACTS, format, CN)
    first = label_of(once)
    edit = {"model": "other", "edit": "inpaint", "of": "a.png", "seed": 3, "size": "24x16"}
    twice = encode(opened(once), edit, after, Provenance(label="cn", producer="SECOND"), original=read(once))
    second = label_of(twice)
    kept = ("Label", "ContentProducer", "ProduceID", "ReservedCode1")
    assert [second[k] for k in kept] == [first[k] for k in kept]
    assert second["ContentPropagator"] == "SECOND" and second["PropagateID"] and second["ReservedCode2"] == ""
    assert label_of(encode(opened(twice), edit, format, original=read(twice))) == second, "kept by whoever asks for none"
    assert label_of(encode(opened(twice), edit, format, Provenance(personal=False), original=read(twice))) == second
    assert len(packets(encode(opened(once), FACTS, format, CN))) == 1, "what a picture brings along is not written a second time"


def test_labels_from_elsewhere_are_read_and_passed_on():
    inner = '{"Label":1,"ContentProducer":"豆包","ProduceID":"x-1"}'
    found = []
    for key, value in (("AIGC", inner), ("AIGC", f'{{"AIGC":{inner}}}')):  # annex B of the guide: a text chunk, by itself or wrapped
        info, out = PngInfo(), BytesIO()
        info.add_text(key, value)
        picture().save(out, "PNG", pnginfo=info)
        found.append(read(out.getvalue()))
    comment = b"Exif\x00\x00" + exif.with_comment(f'{{"AIGC":{inner}}}')
    found.append(read(with_segments(encode(picture(), None, "jpeg"), [comment])))
    attribute = xmp.packet({xmp.TOOL: "x"}).replace(b'rdf:about=""', b'rdf:about="" TC260:AIGC="%s" xmlns:TC260="%s"' % (
        inner.replace('"', "&quot;").encode(), xmp.TC260.encode()))  # fmt: skip
    found.append(read(with_segments(encode(picture(), None, "jpeg"), [XMP_HEAD + attribute])))
    tiff = BytesIO()
    picture().save(tiff, "TIFF", tiffinfo={700: xmp.packet({xmp.LABEL: inner})})
    found.append(read(tiff.getvalue()))
    for traces in found:
        assert traces.labels == ({"Label": "1", "ContentProducer": "豆包", "ProduceID": "x-1"},)
        (packet,) = packets(encode(picture(), {"edit": "vary", "model": "m"}, "png", original=traces))
        ((text,),) = xmp.values(packet, xmp.LABEL)
        assert json.loads(text) | {"Label": "1"} == {**dict.fromkeys(json.loads(text), ""), **traces.labels[0]}
        assert list(json.loads(text))[:3] == ["Label", "ContentProducer", "ProduceID"] and len(json.loads(text)) == 7


@pytest.mark.parametrize("name", [None, "", "某某公司", "a b", 'a"b', "a\\b", "x" * 257, "a\n"])
def test_a_label_wants_a_name_that_the_standard_has_room_for(name):
    with pytest.raises(ConfigError, match=r"--producer\.|GB 45438-2025 wants"):
        Provenance(label="cn", producer=name)


def test_wishes_that_do_not_go_together():
    with pytest.raises(ConfigError, match="--label cn"):
        Provenance(producer="A")
    with pytest.raises(ConfigError, match="cannot be 'eu'"):
        Provenance.parse({"label": "eu"})
    resized = {"model": "bicubic", "edit": "resize", "of": "a.png"}
    for given in (CN, Provenance(visible=True)):
        with pytest.raises(ConfigError, match="nothing to label"):
            encode(picture(), resized, "png", given)
    assert label_of(encode(picture(), resized, "png", CN, original=Traces(source="trainedAlgorithmicMedia")))
    with pytest.raises(ConfigError, match="not as 'gif'"):
        encode(picture(), None, "gif")
    with pytest.raises(DataError, match="write PNG"):
        encode(Image.new("L", (16384, 1)), None, "webp")
    with pytest.raises(DataError, match="write PNG or WebP"):
        encode(picture(), {"prompt": "猫" * 40000}, "jpeg")
    assert read_facts(encode(picture(), {"prompt": "猫" * 40000}, "webp")) == {"prompt": "猫" * 40000}


# Where a picture comes from


@pytest.mark.parametrize(
    "facts, before, wanted",
    [
        ({"model": "m", "seed": 1}, None, "trainedAlgorithmicMedia"),
        ({"model": "m", "edit": "inpaint", "of": "a"}, Traces(), "compositeWithTrainedAlgorithmicMedia"),
        ({"edit": "style", "of": "a"}, Traces(source="digitalCapture"), "compositeWithTrainedAlgorithmicMedia"),
        ({"model": "m", "edit": "inpaint"}, Traces(source="trainedAlgorithmicMedia"), "trainedAlgorithmicMedia"),
        ({"model": "m", "edit": "vary"}, Traces(parameters="a\nSteps: 1"), "trainedAlgorithmicMedia"),
        ({"model": "m", "edit": "vary"}, Traces(facts={"model": "m", "edit": "vary"}), "compositeWithTrainedAlgorithmicMedia"),
        ({"model": "m", "edit": "vary"}, Traces(labels=({"Label": "1"},)), "compositeWithTrainedAlgorithmicMedia"),
        ({"model": "bicubic", "edit": "resize"}, Traces(), "algorithmicallyEnhanced"),
        ({"model": "bicubic", "edit": "resize"}, Traces(source="digitalCapture"), "algorithmicallyEnhanced"),
        ({"model": "bicubic", "edit": "resize"}, Traces(source="trainedAlgorithmicMedia"), "trainedAlgorithmicMedia"),
        ({"model": "bicubic", "edit": "resize"}, Traces(labels=({"Label": "1"},)), "compositeWithTrainedAlgorithmicMedia"),
        ({"data": "scenes"}, None, None),
        ({"model": "m", "prompt": "said of it", "of": "a.png"}, None, None),
        (None, None, None),
    ],
)  # fmt: skip
def test_the_source_is_told_by_the_vocabulary_of_the_iptc(facts, before, wanted):
    assert source_of(facts, before) == wanted
    data = encode(picture(), facts, "png", original=before)
    assert read(data).source == wanted
    told = [v for p in packets(data) for v in xmp.values(p, xmp.SOURCE)[0]]
    assert told == ([IPTC + wanted] if wanted else [])


def test_of_two_pictures_the_first_label_is_kept_and_a_photograph_makes_a_composite(tmp_path):
    made, photo = tmp_path / "made.png", tmp_path / "photo.png"
    made.write_bytes(encode(picture(), FACTS, "png", CN))
    photo.write_bytes(encode(picture(), None, "png"))
    edit = {"model": "m", "edit": "interpolate"}
    assert source_of(edit, carried(str(made))) == "trainedAlgorithmicMedia" == source_of(edit, carried(str(made), str(made)))
    assert source_of(edit, carried(str(made), str(photo))) == source_of(edit, carried(str(photo), str(made)))
    assert source_of(edit, carried(str(made), str(photo))) == "compositeWithTrainedAlgorithmicMedia"
    assert carried(str(photo), str(made)).label == read(made).label
    assert carried(str(tmp_path / "none.png")) == Traces(), "whoever decodes it will say so"


# Nothing personal


@by_format
def test_nothing_personal_is_nowhere_in_the_file(format):
    secret = {
        "prompt": "SECRET-A",
        "negative": "SECRET-B",
        "of": "SECRET-C.png",
        "mask": "SECRET-D.png",
        "model": "SECRET-E",
        "class": "SECRET-F",
    }
    facts = FACTS | secret | {"to": "SECRET-G", "seed": 987654321, "judge": "SECRET-H", "doubted": "SECRET-I", "edit": "inpaint"}
    full = encode(picture(), facts, format, CN)
    data = encode(picture(), facts, format, CN.model_copy(update={"personal": False}))
    for secret_, coded in ((s, c) for s in (b"SECRET", b"987654321") for c in (s, s.decode().encode("utf-16-be"))):
        assert coded not in data
        assert secret_ in full
    traces = read(data)
    assert set(traces.facts) <= set(PLAIN) and traces.facts["steps"] == 14
    assert traces.source == "compositeWithTrainedAlgorithmicMedia" and first_label_of(data)


def test_what_the_picture_brings_along_stays_out():
    info, out = PngInfo(), BytesIO()
    info.add_itxt(XMP_KEYWORD, xmp.packet({xmp.TOOL: "SECRET camera"}).decode())
    exif_ = Image.Exif()
    exif_[0x010F] = "SECRET maker"
    picture().save(out, "PNG", pnginfo=info, exif=exif_.tobytes(), icc_profile=b"SECRET profile")
    for format in FORMATS:
        assert b"SECRET" not in encode(opened(out.getvalue()), FACTS, format)


def test_nothing_here_needs_torch():
    code = "import sys, inkwash.inference.provenance.write, inkwash.inference.provenance.read; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_chunks_of_a_png_are_in_order():
    chunks = list(png_chunks(encode(picture(), FACTS, "png", CN)))
    assert [kind for kind, _ in chunks] == [b"IHDR", b"iTXt", b"iTXt", b"iTXt", b"IDAT", b"IEND"]
    assert b"TC260:AIGC" in chunks[1][1], "Adobe's toolkit, by which the committee's guide writes labels, reads the first text only"
