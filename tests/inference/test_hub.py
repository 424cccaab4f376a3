"""Pipelines of diffusers: tiny ones, of the real classes, made here with random weights."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from inkwash.core.errors import ConfigError, FileError
from inkwash.inference.edit import Edit, edit
from inkwash.inference.load import load
from inkwash.inference.pictures import to_pil
from inkwash.inference.runner import Request, Runner
from inkwash.inference.upscale import upscale
from inkwash.nn.frozen_text import FrozenTextConfig
from inkwash.training import train
from tiny import run_config, write_npz

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
warnings.simplefilter("ignore")

VOCAB = [*"abcdefghijklmnopqrstuvwxyz ,.", *(c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz,."), "<|startoftext|>", "<|endoftext|>"]


def parts(place, channels=4, out=4, classes=None):
    """The parts of a Stable Diffusion, 16 pixels a side."""
    torch.manual_seed(0)
    (place / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(VOCAB)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(place / "vocab.json"), str(place / "merges.txt"), model_max_length=16)
    ends = {"bos_token_id": len(VOCAB) - 2, "eos_token_id": len(VOCAB) - 1}
    text = transformers.CLIPTextConfig(vocab_size=len(VOCAB), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
                                       num_attention_heads=2, max_position_embeddings=16, **ends)  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=out, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4, norm_num_groups=4, num_class_embeds=classes,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, norm_num_groups=4, sample_size=16,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    return {"tokenizer": tokenizer, "text_encoder": transformers.CLIPTextModel(text).eval(), "unet": unet.eval(), "vae": vae.eval(),
            "scheduler": scheduler}  # fmt: skip


def saved(kind, place, **more):
    """A tiny pipeline of that kind as a folder below the place."""
    pipe = kind(**parts(place, **more), safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.save_pretrained(place / "tiny", safe_serialization=True)
    return place / "tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(diffusers.StableDiffusionPipeline, tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    place = tmp_path_factory.mktemp("picture") / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(place)
    return place


def theirs(cls, folder, seed, **given):
    """What diffusers itself gives, uint8 (H, W, 3)."""
    pipe = cls.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return np.asarray(pipe(generator=torch.Generator().manual_seed(seed), **given).images[0]).astype(int)


def ours(x):
    return np.asarray(to_pil(x)).astype(int)


def test_a_drawing_is_that_of_diffusers(folder):
    request = {"model": str(folder), "seed": 7, "prompt": "a red cat", "options": {"steps": 3, "guidance": 4.0, "negative": "dog"}}
    (result,) = Runner("cpu").run([Request(n=2, **request)])
    assert result.images.shape == (2, 3, 16, 16) and result.facts[0]["prompt"] == "a red cat" and result.facts[0]["kind"] == "pipeline"
    for i in range(2):
        given = {"prompt": "a red cat", "negative_prompt": "dog", "num_inference_steps": 3, "guidance_scale": 4.0}
        assert abs(ours(result.images[i]) - theirs(diffusers.StableDiffusionPipeline, folder, 7 + i, **given)).max() <= 1
    runner, plain = Runner("cpu"), {"steps": 3}
    usual, other, again = (
        runner.run([Request(n=1, **request | {"options": o})])[0].images
        for o in (plain, plain | {"scheduler": "EulerAncestralDiscreteScheduler"}, plain)
    )
    assert abs(other - usual).max() > 0.05 and torch.equal(usual, again), "a scheduler is one request's"


def test_words_and_sizes_matter(folder):
    runner = Runner("cpu")
    usual, other, large = (
        runner.run([Request(model=str(folder), options={"steps": 2}, **more)])[0].images
        for more in ({"prompt": "a cat"}, {"prompt": "a dog, 红"}, {"prompt": "a cat", "size": (24, 16)})
    )
    assert not torch.allclose(usual, other) and large.shape == (1, 3, 24, 16)


def test_low_rank_weights_are_added_and_taken_away(folder, tmp_path):
    peft = pytest.importorskip("peft")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
    pipe.unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in pipe.unet.named_parameters():
            if "lora" in name:
                weight.normal_()
    pipe.save_lora_weights(str(tmp_path), unet_lora_layers=peft.get_peft_model_state_dict(pipe.unet))
    (file,) = tmp_path.glob("*.safetensors")
    pipe.set_progress_bar_config(disable=True)
    given = {"prompt": "a cat", "num_inference_steps": 3, "guidance_scale": 4.0}
    wanted = np.asarray(pipe(generator=torch.Generator().manual_seed(5), **given).images[0]).astype(int)
    runner = Runner("cpu")

    def drawn(**more):
        request = Request(model=str(folder), seed=5, prompt="a cat", options={"steps": 3, "guidance": 4.0, **more})
        return runner.run([request])[0].images[0]

    plain, added, again = drawn(), drawn(lora=str(file)), drawn()
    assert abs(ours(added) - wanted).max() <= 1 and abs(ours(added) - ours(plain)).max() > 5 and torch.equal(plain, again)
    (tmp_path / "other.safetensors").write_bytes(b"no weights")
    with pytest.raises(FileError, match="holds no low-rank weights"):
        drawn(lora=str(tmp_path / "other.safetensors"))
    with pytest.raises(FileError, match=r"one \.safetensors file"):
        drawn(lora=str(tmp_path))  # it holds two
    (tmp_path / "a.bin").write_bytes(b"cos")
    with pytest.raises(FileError, match="no other low-rank weights are read"):
        drawn(lora=str(tmp_path / "a.bin"))
    tensors = load_file(file)
    save_file({k.replace("unet", "transformer"): v for k, v in tensors.items()}, tmp_path / "foreign.safetensors")
    with pytest.raises(FileError, match="no part of it has weights of these names"):
        drawn(lora=str(tmp_path / "foreign.safetensors"))
    assert torch.equal(drawn(), plain)


def test_an_edit_is_that_of_diffusers(folder, picture):
    loaded = load(folder, "cpu")
    order = Edit(image=str(picture), prompt="a cat", seed=3, options={"steps": 4, "strength": 0.6, "guidance": 2.0})
    done = edit(loaded, order)
    given = {"prompt": "a cat", "image": Image.open(picture), "strength": 0.6, "num_inference_steps": 4, "guidance_scale": 2.0}
    assert abs(ours(done.images[0]) - theirs(diffusers.StableDiffusionImg2ImgPipeline, folder, 3, **given)).max() <= 1


def test_a_mask_is_filled_in_and_the_rest_comes_back(folder, picture, tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[:8] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    done = edit(load(folder, "cpu"), Edit(image=str(picture), mask=str(tmp_path / "m.png"), prompt="a cat", options={"steps": 3}))
    was = np.asarray(Image.open(picture)).astype(int)
    made = ours(done.images[0])
    assert (made[8:] == was[8:]).all() and abs(made[:8] - was[:8]).max() > 20


def test_pictures_are_made_larger_as_diffusers_does(tmp_path, picture):
    more = {"low_res_scheduler": diffusers.DDPMScheduler(beta_schedule="scaled_linear"), "max_noise_level": 350}
    pipe = diffusers.StableDiffusionUpscalePipeline(
        **parts(tmp_path, channels=7, classes=1000), **more, safety_checker=None, feature_extractor=None, watermarker=None
    )
    pipe.save_pretrained(tmp_path / "up", safe_serialization=True)
    loaded = load(tmp_path / "up", "cpu")
    small = np.asarray(Image.open(picture))
    loaded.model.steps = 2
    made = upscale(loaded, small)
    expected = theirs(
        diffusers.StableDiffusionUpscalePipeline, tmp_path / "up", 0, prompt="", image=Image.open(picture), num_inference_steps=2
    )
    assert made.shape == expected.shape and abs(made.astype(int) - expected).max() <= 1
    loaded.model.scale = 2  # as its autoencoder has it
    assert upscale(loaded, small[:15, :13]).shape == (30, 26, 3), "sides that are no multiple come out whole"


class TestRefusals:
    def test_pickles(self, folder, tmp_path):
        import shutil

        shutil.copytree(folder, tmp_path / "p")
        (tmp_path / "p" / "unet" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(FileError, match=r"unet.pytorch_model\.bin, which may be a pickle.*only safetensors"):
            load(tmp_path / "p", "cpu")

    def test_code(self, folder, tmp_path):
        import shutil

        shutil.copytree(folder, tmp_path / "p")
        (tmp_path / "p" / "pipeline.py").write_text("import os")
        with pytest.raises(FileError, match=r"pipeline\.py, code that a pipeline may run"):
            load(tmp_path / "p", "cpu")

    def test_what_the_pipeline_itself_refuses(self, folder, picture):
        loaded = load(folder, "cpu")
        with pytest.raises(ConfigError, match=r"a strength of 0\.3 leaves none"):
            edit(loaded, Edit(image=str(picture), prompt="a cat", options={"steps": 1, "strength": 0.3}))
        with pytest.raises(ConfigError, match=r"StableDiffusionPipeline refuses: .*divisible by 8"):
            Runner("cpu").run([Request(model=str(folder), prompt="a cat", size=(18, 18))])

    def test_damage(self, folder, tmp_path):
        import shutil

        shutil.copytree(folder, tmp_path / "p")
        (tmp_path / "p" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
        with pytest.raises(FileError, match="cannot be read by diffusers") as caught:
            load(tmp_path / "p", "cpu")
        assert "\n" not in str(caught.value)

    def test_names_are_not_fetched_unless_the_person_said_so(self, monkeypatch):
        with pytest.raises(FileError, match=r"nobody/nothing does not exist here.*--allow-download"):
            load("nobody/nothing", "cpu")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(FileError, match="nobody/nothing cannot be fetched from the Hugging Face hub: ") as caught:
            load("nobody/nothing", "cpu", download=True)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "wrong, words",
        [
            ({"size": (20, 17)}, "17 x 20 is not possible: StableDiffusionPipeline takes multiples of 2"),
            ({"options": {"scheduler": "Nonsense"}}, "no scheduler 'Nonsense'"),
            ({"options": {"step": 3}}, "did you mean 'steps'"),
            ({"options": {"lora": "none.safetensors"}}, "none.safetensors does not exist"),
            ({"options": {"scheduler": "FlowMatchEulerDiscreteScheduler"}}, "FlowMatchEulerDiscreteScheduler|refuses"),
            ({"options": {"scheduler": "VQDiffusionScheduler"}}, "VQDiffusionScheduler"),
            ({"size": (100_000_000, 16)}, "16 x 100000000 is not possible: at most 128 x 128"),
            ({"prompt": "a b " * 20}, "too long: it has 42 tokens, and this pipeline reads 16"),
            ({"options": {"negative": "a b " * 20}}, "too long"),
            ({"prompt": None}, "needs a prompt"),
        ],
    )
    def test_what_cannot_be(self, folder, wrong, words):
        from inkwash.core.errors import InkwashError

        with pytest.raises(InkwashError, match=words):
            Runner("cpu").run([Request(**{"model": str(folder), "prompt": "a cat", "options": {"steps": 1}} | wrong)])


def test_a_pipeline_that_fills_masks_asks_for_one(tmp_path, picture):
    folder = saved(diffusers.StableDiffusionInpaintPipeline, tmp_path, channels=9)
    loaded = load(folder, "cpu")
    with pytest.raises(ConfigError, match="fills a mask in"):
        edit(loaded, Edit(image=str(picture), prompt="a cat", options={"steps": 2}))
    with pytest.raises(ConfigError, match="fills a mask in"):
        Runner("cpu").run([Request(model=str(folder), prompt="a cat")])


def test_a_pipeline_that_starts_from_a_picture_edits(tmp_path, picture):
    folder = saved(diffusers.StableDiffusionInstructPix2PixPipeline, tmp_path, channels=8)
    loaded = load(folder, "cpu")
    assert edit(loaded, Edit(image=str(picture), prompt="a cat", options={"steps": 2})).images.isfinite().all()
    with pytest.raises(ConfigError, match="starts from a picture"):
        Runner("cpu").run([Request(model=str(folder), prompt="a cat")])


def test_little_memory_switches_slicing_on(folder, monkeypatch):
    from inkwash.inference import hub

    model = load(folder, "cpu").model
    assert hub.spare(model.pipe, torch.device("cpu")) == []
    monkeypatch.setattr(hub, "free_memory", lambda device: 1000)
    assert "attention_slicing" in hub.spare(model.pipe, torch.device("cpu"))


class TestFrozenText:
    @pytest.fixture(scope="class")
    def encoder(self, tmp_path_factory):
        place = tmp_path_factory.mktemp("text")
        made = parts(place)
        made["text_encoder"].save_pretrained(place / "clip")
        made["tokenizer"].save_pretrained(place / "clip")
        return place / "clip"

    def test_vectors_are_those_of_the_library_and_are_kept(self, encoder):
        net = FrozenTextConfig(name=str(encoder), width=16).build()
        assert net.length == 16, "as many as the encoder has places for, though 64 were asked for"
        tokens = net.tokens(["a red cat", "dog", "a red cat", "a b " * 60])[:3]
        out, mask = net(tokens)
        model, tokenizer = transformers.CLIPTextModel.from_pretrained(encoder), transformers.AutoTokenizer.from_pretrained(encoder)
        for text, row, there in zip(["a red cat", "dog", "a red cat"], out, mask):
            expected = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]
            torch.testing.assert_close(row[there], expected.detach(), atol=1e-5, rtol=1e-4)
        net._encoder[0].forward = None
        torch.testing.assert_close(net(tokens[:1])[0], out[:1])
        assert not list(net.parameters()) and not net.state_dict()

    def test_a_text_is_the_same_whatever_stands_beside_it_and_room_is_bounded(self, encoder, monkeypatch):
        alone, beside = (FrozenTextConfig(name=str(encoder), width=16).build() for _ in range(2))
        texts = ["a b", "a b c d e a b c d e"]
        a = alone(alone.tokens(texts[:1]))[0]
        b = beside(beside.tokens(texts))[0]
        assert torch.equal(a[0], b[0, : a.shape[1]])
        monkeypatch.setattr("inkwash.nn.frozen_text.ROOM", 100)
        for text in ("c", "d e", "e e a"):
            alone(alone.tokens([text]))
            assert sum(v.numel() for v in alone._kept.values()) == alone._numbers <= 100

    def test_a_diffusion_model_learns_with_it(self, encoder, tmp_path):
        config = run_config("text", write_npz(tmp_path / "a.npz"), steps=2)
        config = config.override({"model.text": {"kind": "transformers", "name": str(encoder), "width": 16, "length": 8}})
        loaded = load(train(config, tmp_path / "run", quiet=True), "cpu", "fp32")
        assert loaded.sample(1, prompt="a cat", steps=2).shape == (1, 3, 8, 8)

    def test_what_is_wrong_is_one_sentence(self, encoder):
        with pytest.raises(ConfigError, match=r"have 16 numbers: set model\.text\.width to that"):
            FrozenTextConfig(name=str(encoder), width=5).build()
        with pytest.raises(FileError, match="cannot be read") as caught:
            FrozenTextConfig(name=str(encoder.parent), width=5).build()
        assert "\n" not in str(caught.value)
        with pytest.raises(ConfigError, match="too long"):
            FrozenTextConfig(name=str(encoder), width=16, length=4).build().tokens(["a b c d e"], cut=False)
