"""The Images API over HTTP, in both dialects."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from inkwash.diffusion.solvers import SOLVERS
from inkwash.inference.provenance.read import read
from inkwash.inference.provenance.write import Provenance, encode
from live import PROMPT, error_of, form_of, opened, png, url_of


def test_the_older_dialect_gets_addresses(server):
    status, headers, body = server.post("/v1/images/generations", {"prompt": PROMPT, "n": 2, "size": "1024x1024", "seed": 5})
    assert status == 200 and [d["seed"] for d in body["data"]] == [5, 6] and headers["x-content-type-options"] == "nosniff"
    assert body["inkwash"]["scaled"] == "The model makes 8x8; the picture was scaled to 1024x1024." and isinstance(body["created"], int)
    for d in body["data"]:
        assert d["url"].startswith(server.url) and "b64_json" not in d
        status, headers, data = server.get(d["url"])
        assert status == 200 and headers["content-type"] == "image/png" and "default-src 'none'" in headers["content-security-policy"]
        assert opened(data).size == (1024, 1024) and headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize("more", [{"model": "gpt-image-1"}, {"output_format": "webp"}, {"background": "auto"}, {"partial_images": 0}])
def test_the_newer_dialect_gets_pictures(server, more):
    _, _, body = server.post("/v1/images/generations", {"prompt": PROMPT, **more})
    form = more.get("output_format", "png")
    assert opened(base64.b64decode(body["data"][0]["b64_json"])).format == form.upper()
    assert body["output_format"] == form and body["size"] == "8x8"


def test_the_form_that_is_asked_for_is_given(server):
    _, _, body = server.post("/v1/images/generations", {"prompt": PROMPT, "response_format": "b64_json"})
    assert "b64_json" in body["data"][0]
    _, _, body = server.post("/v1/images/generations", {"prompt": PROMPT, "model": "gpt-image-1", "response_format": "url"})
    assert "url" in body["data"][0]


def test_the_same_seed_gives_the_same_picture_whoever_asks_beside_it(server):
    ask = {"prompt": PROMPT, "seed": 11, "response_format": "b64_json"}
    (one,) = server.post("/v1/images/generations", ask)[2]["data"]
    both = server.post("/v1/images/generations", {**ask, "seed": 10, "n": 2})[2]["data"]
    far = [abs(a - b) for a, b in zip(*(opened(base64.b64decode(d["b64_json"])).tobytes() for d in (one, both[1])))]
    assert max(far) <= 1 and one["seed"] == both[1]["seed"] == 11
    assert (
        server.post("/v1/images/generations", {"prompt": PROMPT})[2]["data"][0]["seed"]
        != server.post("/v1/images/generations", {"prompt": PROMPT})[2]["data"][0]["seed"]
    )


def test_options_by_the_names_that_others_use(server):
    plain = {"prompt": PROMPT, "seed": 1, "response_format": "b64_json"}
    one = server.post("/v1/images/generations", {**plain, "num_inference_steps": 2, "guidance_scale": 3.0, "negative_prompt": "dark"})
    other = server.post("/v1/images/generations", {**plain, "steps": 2, "cfg_scale": 3.0, "negative_prompt": "dark", "solver": "dpmpp-2m"})
    assert one[0] == other[0] == 200 and one[2]["data"] == other[2]["data"]
    job = server.get(f"/v1/jobs/{one[2]['inkwash']['job']}")[2]
    facts = job["pictures"][0]["facts"]
    assert (facts["steps"], facts["guidance"], facts["negative"], facts["prompt"]) == (2, 3.0, "dark", PROMPT)
    assert "value for 'steps'" in error_of(server.post("/v1/images/generations", {**plain, "steps": 0}), 400)["message"]
    assert "at most 200" in error_of(server.post("/v1/images/generations", {**plain, "steps": 201}), 400)["message"]


def test_models_that_read_no_sentence(server):
    ask = {"model": "classy", "response_format": "b64_json", "seed": 3}
    status, _, body = server.post("/v1/images/generations", {**ask, "prompt": "Class 1"})
    assert status == 200 and server.get(f"/v1/jobs/{body['inkwash']['job']}")[2]["pictures"][0]["facts"]["class"] == "class 1"
    error = error_of(server.post("/v1/images/generations", {**ask, "prompt": "a horse"}), 400)
    assert "one of class 0, class 1" in error["message"] and error["param"] == "prompt"
    assert server.post("/v1/images/generations", {"model": "free", "n": 1})[0] == 200
    assert "Leave the prompt out" in error_of(server.post("/v1/images/generations", {"model": "free", "prompt": "a"}), 400)["message"]


@pytest.mark.parametrize(
    "body, said, param",
    [
        ({"prompt": ""}, "The prompt is empty", "prompt"),
        ({}, "The prompt is empty", "prompt"),
        ({"prompt": "x" * 10_000}, "has 10000 characters; at most 4000", "prompt"),
        ({"prompt": PROMPT, "n": 0}, "Invalid value for 'n'", "n"),
        ({"prompt": PROMPT, "n": 99}, "99 pictures are too many", "n"),
        ({"prompt": PROMPT, "size": "big"}, "Invalid value for 'size'", "size"),
        ({"prompt": PROMPT, "size": "90000x90000"}, "too many pixels", "size"),
        ({"prompt": PROMPT, "stepps": 3}, "Unknown parameter: 'stepps'; did you mean 'steps'?", "stepps"),
        ({"prompt": PROMPT, "lora": "/etc/passwd"}, "Unknown parameter: 'lora'", "lora"),
        ({"prompt": PROMPT, "solver": "magic"}, "a solver is one of", None),
        ({"prompt": PROMPT, "model": "writer"}, "cannot generate; it can caption", "model"),
        ({"prompt": PROMPT, "seed": -1}, "Invalid value for 'seed'", "seed"),
    ],
)
def test_what_cannot_be_is_said(server, body, said, param):
    error = error_of(server.post("/v1/images/generations", body), 400)
    assert said in error["message"] and error["param"] == param and error["type"] == "invalid_request_error"


def test_other_errors(server):
    assert "did you mean 'reader'" in error_of(server.post("/v1/images/generations", {"prompt": "a", "model": "readr"}), 404)["message"]
    assert error_of(server.post("/v1/images/generations", raw=b"{"), 400)["code"] == "invalid_json"
    assert error_of(server.post("/v1/images/generations", raw=b"[1]"), 400)["code"] == "invalid_json"
    assert error_of(server.get("/v1/images/generations"), 405)["code"] == "method_not_allowed"
    assert error_of(server.get("/v1/none"), 404)["code"] == "not_found"
    assert error_of(server.get("/v1/jobs?limit=0"), 400)["param"] == "limit"
    assert error_of(server.get("/v1/files/" + "a" * 32 + ".png"), 404)
    assert error_of(server.get("/v1/files/..%2f..%2fqueue.db"), 404)
    assert error_of(server.post("/v1/images/edits", raw=b"x", headers={"Content-Type": "text/plain"}), 415)


def test_streaming_shows_pictures_on_their_way(server):
    ask = {"prompt": PROMPT, "stream": True, "partial_images": 2, "n": 2, "seed": 4}
    _, headers, body = server.post("/v1/images/generations", ask)
    assert headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]
    kinds = [e["type"].removeprefix("image_generation.") for e in events]
    assert kinds == ["partial_image", "partial_image", "completed", "completed"]
    assert [e.get("partial_image_index") for e in events[:2]] == [0, 1] and events[2]["usage"]["total_tokens"] == 0
    pictures = [opened(base64.b64decode(e["b64_json"])) for e in events]
    assert all(p.size == (8, 8) for p in pictures) and pictures[0].tobytes() != pictures[2].tobytes()
    _, _, body = server.post("/v1/images/generations", {"prompt": PROMPT, "stream": True, "size": "16x16"})
    assert "the picture was scaled to 16x16" in json.loads(body.decode().rpartition("data: ")[2])["inkwash"]["scaled"]
    _, _, body = server.post("/v1/images/generations", {"prompt": PROMPT, "stream": True, "solver": "magic"})
    assert '"type": "error"' in body.decode() and "a solver is one of" in body.decode()


def test_edits_keep_what_the_mask_keeps(server):
    hole = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    hole.paste((0, 0, 0, 0), (0, 0, 8, 4))
    out = io.BytesIO()
    hole.save(out, "PNG")
    body, head = form_of({"prompt": PROMPT, "response_format": "b64_json", "seed": 2}, [("image[]", png()), ("mask", out.getvalue())])
    status, _, answer = server.post("/v1/images/edits", raw=body, headers=head)
    assert status == 200
    made = opened(base64.b64decode(answer["data"][0]["b64_json"]))
    assert made.size == (8, 8) and all(made.getpixel((x, 6)) == (200, 30, 30) for x in range(8))
    assert any(made.getpixel((x, 1)) != (200, 30, 30) for x in range(8))
    sent = {"prompt": PROMPT, "images": [{"image_url": url_of(png())}], "mask": {"image_url": url_of(out.getvalue())}, "seed": 2}
    other = server.post("/v1/images/edits", {**sent, "response_format": "b64_json"})[2]
    assert other["data"] == answer["data"]


def test_a_picture_with_a_hole_is_its_own_mask(server):
    picture = Image.new("RGBA", (8, 8), (200, 30, 30, 255))
    picture.paste((0, 0, 0, 0), (4, 0, 8, 8))
    out = io.BytesIO()
    picture.save(out, "PNG")
    body, head = form_of({"prompt": PROMPT, "response_format": "b64_json"}, [("image", out.getvalue())])
    made = opened(base64.b64decode(server.post("/v1/images/edits", raw=body, headers=head)[2]["data"][0]["b64_json"]))
    assert all(made.getpixel((1, y)) == (200, 30, 30) for y in range(8))


def test_edits_of_two_pictures_look_at_the_first(server):
    body, head = form_of({"prompt": PROMPT}, [("image[]", png()), ("image[]", png((4, 4)))])
    status, _, answer = server.post("/v1/images/edits", raw=body, headers=head)
    assert status == 200 and "1 more were not looked at" in answer["inkwash"]["ignored"]


def test_files_say_how_they_were_made_and_a_label_stays(server):
    url = server.post("/v1/images/generations", {"prompt": "a picture 水墨, number 3", "seed": 8, "steps": 2})[2]["data"][0]["url"]
    drawn = read(server.get(url)[2])
    assert drawn.facts["prompt"] == "a picture 水墨, number 3" and drawn.facts["seed"] == 8 and drawn.source == "trainedAlgorithmicMedia"
    assert "Steps: 2" in drawn.parameters and "Seed: 8" in drawn.parameters
    given = Provenance(label="cn", producer="001191110000MA00000001")
    labelled = encode(Image.new("RGB", (8, 8), "red"), {"model": "other", "prompt": "secret"}, "png", given)
    for form in ("png", "jpeg", "webp"):
        body, head = form_of({"prompt": PROMPT, "output_format": form, "response_format": "url"}, [("image", labelled)])
        made = read(server.get(server.post("/v1/images/edits", raw=body, headers=head)[2]["data"][0]["url"])[2])
        assert len(made.labels) == 1 and made.label["ContentProducer"] == given.producer and made.source == "trainedAlgorithmicMedia"
        assert made.facts["edit"] == "image-to-image" and "secret" not in str(made.facts)
    body, head = form_of({"prompt": PROMPT}, [("image", png())])
    made = read(server.get(server.post("/v1/images/edits", raw=body, headers=head)[2]["data"][0]["url"])[2])
    assert made.source == "compositeWithTrainedAlgorithmicMedia" and not made.labels


def test_bad_edits(server):
    def said(fields, files):
        body, head = form_of(fields, files)
        return error_of(server.post("/v1/images/edits", raw=body, headers=head), 400)["message"]

    assert "There is no picture: send it as 'image'" in said({"prompt": PROMPT}, [])
    assert "is not a PNG" in said({"prompt": PROMPT}, [("image", b"GIF89a")])
    assert "need the same size" in said({}, [("image", png()), ("mask", png((4, 4)))])
    assert "leaves nothing to be made" in said({}, [("image", png()), ("mask", png(colour=(0, 0, 0)))])
    assert "Unknown parameter: 'picture'" in said({}, [("picture", png())])
    assert "pixels" in said({}, [("image", png((5000, 5000)))])
    ask = {"image": "http://169.254.169.254/latest/meta-data", "prompt": "a"}
    assert "fetches no addresses" in error_of(server.post("/v1/images/edits", ask), 400)["message"]


def test_variations_and_our_own_verbs(server):
    body, head = form_of({"n": 2, "strength": 0.4, "response_format": "b64_json"}, [("image", png((20, 16)))])
    status, _, answer = server.post("/v1/images/variations", raw=body, headers=head)
    assert status == 200 and [opened(base64.b64decode(d["b64_json"])).size for d in answer["data"]] == [(20, 16)] * 2
    status, _, answer = server.post("/v1/images/captions", {"image": url_of(png())})
    assert status == 200 and answer["model"] == "writer" and isinstance(answer["data"][0]["text"], str)
    status, _, answer = server.post(
        "/v1/images/upscales", {"image": url_of(png()), "scale": 3, "model": "lanczos", "response_format": "b64_json"}
    )
    assert status == 200 and opened(base64.b64decode(answer["data"][0]["b64_json"])).size == (24, 24)
    sent = {"image": url_of(png((24, 16))), "painting": url_of(png((20, 20), colour=(0, 90, 200))), "steps": 2}
    status, _, answer = server.post("/v1/images/styles", sent)
    assert status == 200 and opened(server.get(answer["data"][0]["url"])[2]).size == (24, 16)


def test_models_and_the_queue_are_told(server):
    _, _, body = server.get("/v1/models")
    assert [m["id"] for m in body["data"]] == ["reader", "classy", "free", "writer"] and body["object"] == "list"
    limits = body["inkwash"]["limits"]
    assert (limits["images"], limits["steps"], limits["pixels"], limits["prompt"]) == (10, 200, 16_777_216, 4000)
    facts = server.get("/v1/models/reader")[2]["inkwash"]
    assert facts["does"] == ["generate", "edit"] and facts["reads"] and facts["options"]["steps"]["default"] == 14
    names, foreign = facts["options"]["solver"]["anyOf"]
    assert names["enum"] == list(SOLVERS) and re.match(foreign["pattern"], "diffusers:DDIM") and not re.match(foreign["pattern"], "ddim")
    _, _, body = server.post("/v1/images/generations", {"prompt": PROMPT}, headers={"Prefer": "respond-async"})
    assert body["object"] == "job" and body["state"] in ("queued", "running", "done")
    _, _, stream = server.get(f"/v1/jobs/{body['id']}/events")
    events = [json.loads(line[6:]) for line in stream.decode().split("\n") if line.startswith("data: ")]
    assert events[-1]["state"] == "done" and len(events[-1]["pictures"]) == 1
    assert server.ask("DELETE", f"/v1/jobs/{body['id']}")[2]["deleted"] and server.get(f"/v1/jobs/{body['id']}")[0] == 404
    assert server.get(events[-1]["pictures"][0]["url"])[0] == 404
    counts = server.get("/v1/jobs?limit=1")[2]
    assert counts["counts"]["done"] > 3 and counts["more"] is True and counts["counts"]["running"] == 0
    text = server.get("/metrics")[2].decode()
    assert 'inkwash_jobs{state="done"}' in text and 'route="/v1/images/edits",status="200"' in text
    assert server.get("/healthz")[2] == {"status": "ok", "version": "0.1.0"}


def test_jobs_are_told_by_their_kind(server):
    for verb, body in {"upscales": {"model": "nearest"}, "captions": {}}.items():
        head, sent = {"Prefer": "respond-async", "Idempotency-Key": "one for all"}, {"image": url_of(png()), **body}
        (status, headers, job), (_, _, again) = (server.post(f"/v1/images/{verb}", sent, headers=head) for _ in range(2))
        assert status == 202 and headers["location"] == f"{server.url}/v1/jobs/{job['id']}" and again["id"] == job["id"]
    told = server.get("/v1/jobs?kind=upscale&kind=caption&limit=200")[2]
    assert {j["kind"] for j in told["data"]} == {"upscale", "caption"} and sum(told["counts"].values()) == len(told["data"])
    assert {j["kind"] for j in server.get("/v1/jobs?kind=caption&limit=1")[2]["data"]} == {"caption"}
    for strange in ("", "training&kind=drawing"):
        assert error_of(server.get(f"/v1/jobs?kind={strange}"), 400)["param"] == "kind"


def test_the_same_request_twice_is_made_once(server):
    head = {"Idempotency-Key": "once"}
    one, other = (server.post("/v1/images/generations", {"prompt": PROMPT}, headers=head)[2] for _ in range(2))
    assert one["inkwash"]["job"] == other["inkwash"]["job"] and one["data"] == other["data"]


def test_the_document_says_how_requests_are_refused(server):
    document = server.get("/v1/openapi.json")[2]
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            codes = {code for code in told["responses"] if code[0] in "45"}
            assert codes == {"4XX", "5XX"}, (path, method, codes)
    shape = document["components"]["schemas"]["Wrong"]["properties"]
    assert shape.keys() == server.post("/v1/images/generations", {"n": 0})[2]["error"].keys()


def test_what_a_place_may_be_asked_for_is_said_whole(server):
    status, headers, _ = server.ask("PUT", "/v1/jobs/none")
    assert status == 405 and headers["allow"] == "DELETE, GET"
