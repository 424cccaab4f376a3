import pytest
import torch
from PIL import Image

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.pixels import from_uint8
from inkwash.inference.edit import ROUNDS, Edit, edit, read_mask, read_picture
from inkwash.inference.load import load
from inkwash.inference.pictures import to_pil
from inkwash.inference.runner import Runner
from tiny import make_trainer, pictures, run_config, write_npz

SIZE = (16, 12)


def picture(path, seed=0, size=SIZE):
    Image.fromarray(pictures(1, (3, *size), seed)[0]).save(path)
    return str(path)


def mask_file(path, size=SIZE, box=(4, 3, 12, 9)):
    m = Image.new("L", size[::-1], 0)
    m.paste(255, (box[1], box[0], box[3], box[2]))
    m.save(path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A diffusion model that has seen little, on images of 16 x 12 with two classes; and a GAN."""
    root = tmp_path_factory.mktemp("edit")
    source = write_npz(root / "a.npz", shape=(3, *SIZE))
    for kind in ("diffusion", "gan"):
        from inkwash.core.files import save_model

        t = make_trainer(run_config(kind, source, steps=30, lr=3e-3), stir=0.02)
        t._batches = t.loader.stream()
        for _ in range(30 if kind == "diffusion" else 0):
            t.step()
        save_model(root / kind, t.config.model, t.model.state_dict(), "a card", {})
    picture(root / "a.png", 1)
    picture(root / "b.png", 2)
    picture(root / "large.png", 3, (40, 30))
    mask_file(root / "m.png")
    mask_file(root / "large-m.png", (80, 60), (20, 15, 60, 45))
    return root


@pytest.fixture(scope="module")
def model(folder):
    return load(folder / "diffusion", precision="fp32")


def order(folder, **values):
    return Edit(image=str(folder / "a.png"), **values)


def psnr(a, b):
    return 10 * torch.log10(4 / (a - b).square().mean()).item()


def test_known_pixels_come_back_bit_by_bit(model, folder):
    for options in ({}, {"rounds": 2, "steps": 6}, {"solver": "heun"}, {"solver": "ddpm"}, {"clamp": True}, {"guidance": 2.0}):
        done = edit(model, order(folder, mask=str(folder / "m.png"), n=3, label=1, options={"steps": 8, **options}))
        out, seen, mask = done.images, done.seen, done.mask
        assert out.shape == (3, 3, *SIZE) and mask.shape == (1, *SIZE) and mask.sum() == 8 * 6
        known = (mask == 0).expand(3, -1, -1)
        assert all(torch.equal(x[known], seen[known]) for x in out)
        inside = ~known
        assert not any(torch.equal(x[inside], seen[inside]) for x in out) and not torch.equal(out[0][inside], out[1][inside])
        assert out.abs().max() <= 1


def test_a_mask_is_filled_by_repaint_unless_a_solver_is_named(model, folder):
    def filled(**options):
        return edit(model, order(folder, mask=str(folder / "m.png"), label=1, options={"steps": 5, **options})).images

    usual = filled()
    assert torch.equal(usual, filled(rounds=ROUNDS)) and not torch.equal(usual, filled(rounds=0))
    plain = filled(solver="dpmpp-2m")
    assert torch.equal(plain, filled(rounds=0)) and torch.equal(filled(solver="ddpm", rounds=ROUNDS), usual)
    for idle in ({"solver": "heun", "rounds": ROUNDS}, {"eta": 0.3}, {"overshoot": 1.0}):
        with pytest.raises(ConfigError, match=r"RePaint|repaint|only dpmpp-2m"):
            filled(**idle)


def test_the_way_through_noise_is_not_guided(model, folder, monkeypatch):
    with pytest.raises(ConfigError, match="guided"):
        edit(model, order(folder, vary=0.3, options={"guidance": 2.0}))
    kept = edit(model, order(folder, vary=0.3, label=1)).images
    guided = model.model.config.override({"options.guidance": 3.0})
    monkeypatch.setattr(model.model, "config", guided)
    assert torch.equal(kept, edit(model, order(folder, vary=0.3, label=1)).images)  # a model's own guidance is left out


def test_strength_is_the_share_of_noise(model, folder):
    seen = read_picture(str(folder / "a.png"), model)
    far = [(edit(model, order(folder, n=4, options={"strength": s})).images - seen).square().mean().item() for s in (0.02, 0.3, 0.9)]
    assert far[0] < 0.02 and far[0] < far[1] < far[2]
    usual, same = edit(model, order(folder)).images, edit(model, order(folder, options={"strength": 0.6})).images
    assert torch.equal(usual, same)


def test_extending_keeps_the_picture_and_grows_it(model, folder):
    done = edit(model, order(folder, extend=(1, 2, 3, 4), n=2))
    out, seen, mask = done.images, done.seen, done.mask
    assert out.shape == (2, 3, 16 + 1 + 3, 12 + 2 + 4) == (2, *seen.shape)
    original = read_picture(str(folder / "a.png"), model)
    assert torch.equal(out[0][:, 1:17, 4:16], original) and torch.equal(out[1][:, 1:17, 4:16], original)
    assert mask.sum() == 20 * 18 - 16 * 12


def test_the_way_to_noise_and_back_is_exact(model, folder):
    """Both ends of an interpolation are the pictures; what is between differs from either; a small variation stays near."""
    done = edit(model, order(folder, to=str(folder / "b.png"), n=3))
    out, seen = done.images, done.seen
    other = read_picture(str(folder / "b.png"), model)
    assert psnr(out[0], seen) > 40 and psnr(out[2], other) > 40
    assert psnr(out[1], seen) < 40 and psnr(out[1], other) < 40
    near, far = (edit(model, order(folder, vary=v, n=2)).images for v in (0.02, 1.0))
    assert psnr(near[0], seen) > psnr(far[0], seen) and not torch.equal(near[0], near[1])


def test_sizes(model, folder):
    large = str(folder / "large.png")
    assert edit(model, Edit(image=large)).images.shape == (1, 3, *SIZE), "brought to the size of training"
    options = {"tile": 16, "overlap": 4, "steps": 3}
    done = edit(model, Edit(image=large, keep_size=True, mask=str(folder / "large-m.png"), options=options))
    out, seen, mask = done.images, done.seen, done.mask
    assert out.shape == (1, 3, 40, 30) and mask.shape == (1, 40, 30)
    assert torch.equal(out[0][:, mask[0] == 0], seen[:, mask[0] == 0])


def test_a_picture_is_read_as_it_is_seen(model, folder):
    seen = read_picture(str(folder / "a.png"), model)
    assert torch.equal(seen, from_uint8(torch.from_numpy(pictures(1, (3, *SIZE), 1)[0].transpose(2, 0, 1).copy())))
    clear = to_pil(seen).convert("RGBA")
    clear.putalpha(Image.open(folder / "m.png").point(lambda v: 255 - v))
    clear.save(folder / "clear.png")
    assert torch.equal(read_mask(str(folder / "clear.png"), SIZE, model, SIZE), read_mask(str(folder / "m.png"), SIZE, model, SIZE))


def test_what_cannot_be_edited_is_one_sentence(model, folder):
    with pytest.raises(ConfigError, match="One edit at a time: inpaint and vary"):
        edit(model, order(folder, mask="m.png", vary=0.5))
    with pytest.raises(DataError, match=r"There is no picture .*none\.png"):
        edit(model, Edit(image=str(folder / "none.png")))
    with pytest.raises(DataError, match="There is no mask"):
        edit(model, order(folder, mask=str(folder / "none.png")))
    (folder / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png"):
        edit(model, Edit(image=str(folder / "text.png")))
    Image.new("L", SIZE[::-1], 0).save(folder / "black.png")
    with pytest.raises(DataError, match="black all over"):
        edit(model, order(folder, mask=str(folder / "black.png")))
    with pytest.raises(ConfigError, match="'gan' model does not edit"):
        edit(load(folder / "gan", precision="fp32"), order(folder))
    with pytest.raises(ConfigError, match="did you mean 'strength'"):
        edit(model, order(folder, options={"strengt": 0.1}))
    with pytest.raises(ConfigError, match="no class 'third'"):
        edit(model, order(folder, label="third"))


def test_a_runner_serves_edits_with_what_made_them(folder):
    result, seen = Runner("cpu", "fp32").edit(str(folder / "diffusion"), order(folder, mask=str(folder / "m.png"), n=2, seed=5, label=0))
    assert result.seeds == [5, 6] and len(seen) == 2 and result.images.shape == (2, 3, *SIZE)
    assert result.facts[1] == {
        "seed": 6, "class": "class 0", "model": "diffusion", "kind": "diffusion", "edit": "inpaint", "of": "a.png", "size": "12x16",
        "mask": str(folder / "m.png"), "rounds": ROUNDS,
    }  # fmt: skip
    result, _ = Runner("cpu", "fp32").edit(str(folder / "diffusion"), order(folder, vary=0.5, was=0, label=1, options={"steps": 3}))
    assert {k: result.facts[0][k] for k in ("edit", "vary", "was", "steps")} == {"edit": "vary", "vary": 0.5, "was": 0, "steps": 3}
    assert "guidance" not in result.facts[0] and "eta" not in result.facts[0], "only what acted is written down"


@pytest.mark.parametrize(
    "option", ["strength=0.2", "solver=heun", "grid=own", "eta=0.3", "rounds=3", "churn=2", "overshoot=3", "interval=[0,1]", "size=[8,8]"]
)
def test_the_way_through_noise_refuses_what_it_does_not_take(model, folder, option):
    name, value = option.split("=")
    with pytest.raises(ConfigError, match=f"cannot act here, {name}"):
        edit(model, order(folder, vary=0.3, label=1, options={name: value}))


def test_guidance_wants_a_class(model, folder):
    for more in ({}, {"mask": str(folder / "m.png")}):
        with pytest.raises(ConfigError, match="guidance: no class is asked for"):
            edit(model, order(folder, **more, options={"guidance": 5.0, "steps": 2}))
        plain, guided = (edit(model, order(folder, **more, label=0, options={"guidance": g, "steps": 2})) for g in (1.0, 5.0))
        assert guided.images.isfinite().all() and not torch.equal(plain.images, guided.images)


def test_a_picture_becomes_another_class_through_its_noise(model, folder):
    """The way there is walked under the old class and the way back under the new one; with both the same, nothing changes."""
    same, other = (edit(model, order(folder, was=0, label=label)) for label in (0, 1))
    assert psnr(same.images[0], same.seen) > 40 > psnr(other.images[0], other.seen)
    back = model.model.invert(other.seen[None], Condition(label=torch.tensor([0])), other.options)
    torch.testing.assert_close(other.images, model.model.regenerate(back, Condition(label=torch.tensor([1])), other.options))
    for wrong in ({"was": 0}, {"was": 0, "label": 1, "mask": "m.png"}, {"was": 0, "label": 1, "n": 2}):
        with pytest.raises(ConfigError, match=r"becomes another class|goes with a class"):
            edit(model, order(folder, **wrong))


def test_a_mask_has_the_shape_of_its_picture(model, folder):
    mask_file(folder / "twice.png", (32, 24), (8, 6, 24, 18))
    twice, usual = (edit(model, order(folder, mask=str(folder / m), options={"steps": 2})) for m in ("twice.png", "m.png"))
    assert torch.equal(twice.mask, usual.mask)
    mask_file(folder / "wide.png", (16, 48), (4, 3, 12, 9))
    with pytest.raises(DataError, match="48x16 and the picture 12x16"):
        edit(model, order(folder, mask=str(folder / "wide.png")))


def test_a_mask_is_cut_as_its_picture_is(model, folder, monkeypatch):
    """Under "window" both are cut from the middle, not scaled: a mask of half the resolution still means the same place."""
    monkeypatch.setitem(model.data, "view", {"size": list(SIZE), "channels": 3, "fit": "window"})
    Image.new("RGB", (48, 64)).save(folder / "fourfold.png")

    def mask_of(k, *box):
        mask_file(folder / "part.png", (16 * k, 12 * k), box)
        return edit(model, Edit(image=str(folder / "fourfold.png"), mask=str(folder / "part.png"), options={"steps": 1})).mask

    large, small = (mask_of(k, 8 * k, 6 * k, 16 * k, 12 * k) for k in (4, 2))
    assert torch.equal(large, small) and large.mean() == 0.25
    with pytest.raises(DataError, match="Nothing white is left"):
        mask_of(4, 0, 0, 4, 4)


def test_progress_counts_the_whole_way(model, folder):
    told = []
    edit(model, order(folder, to=str(folder / "b.png"), n=4, batch=2, options={"steps": 3}), lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 12) for i in range(12)]


def test_results_do_not_depend_on_their_company(model, folder):
    many = edit(model, order(folder, mask=str(folder / "m.png"), n=5, options={"steps": 5})).images
    few = edit(model, order(folder, mask=str(folder / "m.png"), n=1, seed=3, options={"steps": 5})).images
    torch.testing.assert_close(many[3], few[0], atol=2e-5, rtol=0)
