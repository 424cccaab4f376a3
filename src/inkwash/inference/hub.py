"""Public models: a folder that diffusers has written, or a name on the Hugging Face hub, behind the face of a model of ours (extra `hub`).

Nothing is fetched unless the person said so, and only weights in safetensors are read: a pickle can run code.
"""

import inspect
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from safetensors import SafetensorError
from torch import Tensor

from inkwash.core.batch import Condition
from inkwash.core.config import ModelConfig
from inkwash.core.device import Precision
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.extras import library, reason
from inkwash.core.model import Model, OnStep, Options, Prompted, Sampler, Translator
from inkwash.core.rng import Rng
from inkwash.inference.pictures import to_pil
from inkwash.nn.layers import pad_to_multiple

SAFE = ".safetensors"
INDEX = "model_index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model"]  # of a hub repository: no code, no pickles
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
LARGER = 8  # times the size that a pipeline was made for, at most, to each side


class PipelineConfig(ModelConfig):
    """shape: (3, H, W) of what it draws unless a size is asked for. pipeline: the class of diffusers."""

    kind: Literal["pipeline"] = "pipeline"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    pipeline: str


class PipelineOptions(Options):
    """steps, guidance: the pipeline's own unless said. negative: a text to lead away from. strength: with a picture to start from, how much
    of it becomes noise. size: (height, width), multiples of 8. scheduler: the name of a class of diffusers. lora: a file or a folder of
    low-rank weights to add.
    """

    steps: int | None = Field(None, ge=1, le=1000)
    guidance: float | None = Field(None, ge=0, allow_inf_nan=False)
    negative: str = ""
    strength: float = Field(0.8, gt=0, le=1)
    size: tuple[PositiveInt, PositiveInt] | None = None
    scheduler: str = ""
    lora: str = ""


class PipelineModel(Model, Sampler, Prompted):
    """A pipeline of diffusers that draws from text. With a picture it starts from that, with a mask too it fills that in."""

    Options = PipelineOptions
    at_once = 4

    def __init__(self, config: PipelineConfig, pipe: Any):
        super().__init__(config)
        self.accepts, self.requires = frozenset({"tokens", "image", "mask"}), frozenset({"tokens"})
        self.pipe, self._lora, self._scheduler = pipe, "", getattr(pipe, "scheduler", None)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")  # of what goes in and comes out; the pipeline places its parts itself

    def tokens(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        """The bytes of texts, one more each: the pipeline has tokenizers of its own."""
        rows = [[b + 1 for b in text.encode(errors="replace")] for text in texts]
        most = max(1, max(map(len, rows), default=1))
        return torch.tensor([row + [0] * (most - len(row)) for row in rows])

    def texts(self, tokens: Tensor) -> list[str]:
        """The inverse of `tokens`."""
        return [bytes(b - 1 for b in row if b).decode() for row in tokens.tolist()]

    def unknown(self, text: str) -> list[str]:
        return []

    @property
    def _starts(self) -> bool:
        """Whether the pipeline itself starts from a picture and wants no mask."""
        known = takes(self.pipe)
        return "image" in known and "mask_image" not in known and "height" not in known

    def sample(self, rng: Rng, cond: Condition, options: PipelineOptions, on_step: OnStep | None = None) -> Tensor:
        pipe = self._for(cond)
        self._add(pipe, options)
        given: dict[str, Any] = {"prompt": self.texts(cond.tokens)}
        if cond.image is not None:
            given |= {"image": [to_pil(x) for x in cond.image]} | ({"strength": options.strength} if "strength" in takes(pipe) else {})
        if cond.mask is not None:
            given |= {"mask_image": [to_pil(m * 2 - 1) for m in cond.mask]}
        if cond.image is None or cond.mask is not None:
            height, width = options.size or (self.config.shape[1:] if cond.image is None else cond.image.shape[-2:])
            given |= {"height": height, "width": width}
        made = call(pipe, rng, given | wishes(pipe, options), on_step)
        if cond.mask is None:
            return made
        return cond.image + cond.mask * (made - cond.image)  # known pixels come back bit by bit

    def _for(self, cond: Condition) -> Any:
        import diffusers

        if cond.image is None or (cond.mask is None and self._starts):
            return self.pipe
        auto = diffusers.AutoPipelineForImage2Image if cond.mask is None else diffusers.AutoPipelineForInpainting
        try:
            pipe = auto.from_pipe(self.pipe)
        except ValueError:
            what = "start from a picture" if cond.mask is None else "fill a mask in"
            raise ConfigError(f"diffusers knows no {self.config.pipeline} that can {what}.") from None
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def _add(self, pipe: Any, options: PipelineOptions) -> None:
        """Scheduler and low-rank weights that are asked for."""
        import diffusers

        pipe.scheduler = self._scheduler  # the pipeline's own, whatever the last request had
        if options.scheduler:
            found = getattr(diffusers, options.scheduler, None)
            if found is None or not hasattr(found, "set_timesteps"):
                raise ConfigError(f"diffusers has no scheduler {options.scheduler!r}; one is called DDIMScheduler.")
            try:
                pipe.scheduler = found.from_config(self._scheduler.config)
            except Exception as error:  # one that wants another library, say
                raise ConfigError(f"The scheduler {options.scheduler!r} cannot be had: {reason(error)}.") from None
        if options.lora != self._lora:
            if self._lora:
                pipe.unload_lora_weights()
            self._lora = ""
            if options.lora:
                self._load(pipe, Path(options.lora))
            self._lora = options.lora

    def _load(self, pipe: Any, place: Path) -> None:
        """Low-rank weights from a file or a folder."""
        if not place.exists() or not hasattr(pipe, "load_lora_weights"):
            raise FileError(f"{place} does not exist, or a {self.config.pipeline} takes no low-rank weights.")
        library("peft", "hub")
        files = [place] if place.is_file() else sorted(place.glob(f"*{SAFE}"))
        if len(files) != 1 or files[0].suffix != SAFE:
            raise FileError(f"{place} is not, and does not hold, one {SAFE} file: no other low-rank weights are read.")
        try:
            pipe.load_lora_weights(str(files[0].parent), weight_name=files[0].name, use_safetensors=True, local_files_only=True)
            if not pipe.get_list_adapters():
                raise ValueError("no part of it has weights of these names")
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            pipe.unload_lora_weights()  # what a first part had taken
            raise FileError(f"{place} holds no low-rank weights for a {self.config.pipeline}: {reason(error)}.") from None

    def refuse(self, options: PipelineOptions, cond: Condition) -> None:
        step, size = multiple(self.pipe), options.size or (None if cond.image is None else tuple(cond.image.shape[-2:]))
        if size and any(side % step for side in size):
            raise ConfigError(f"{size[1]} x {size[0]} is not possible: {self.config.pipeline} takes multiples of {step}.")
        most = [LARGER * side for side in self.config.shape[1:]]
        if size and any(side > limit for side, limit in zip(size, most)):
            raise ConfigError(f"{size[1]} x {size[0]} is not possible: at most {most[1]} x {most[0]}, {LARGER} times what it was made for.")
        self._refuse_picture(cond)
        for text in {*([] if cond.tokens is None else self.texts(cond.tokens)), options.negative}:
            self._refuse_long(text)
        if cond.image is not None and (options.steps or 50) * options.strength < 1:
            raise ConfigError(f"Of steps={options.steps} a strength of {options.strength} leaves none: ask for more of either.")

    def _refuse_picture(self, cond: Condition) -> None:
        """Raise ConfigError where it wants a picture or a mask, and has none."""
        filling = getattr(getattr(getattr(self.pipe, "unet", None), "config", None), "in_channels", 4) == 9  # latents, a mask, the known
        if cond.mask is None and filling:
            raise ConfigError(f"A {self.config.pipeline} of this kind fills a mask in: inkwash edit gives it a picture and --mask.")
        if cond.image is None and self._starts:
            raise ConfigError(f"A {self.config.pipeline} starts from a picture: inkwash edit gives it one.")

    def _refuse_long(self, text: str) -> None:
        """Raise ConfigError for a text of which every encoder would drop the end."""
        readers = [getattr(self.pipe, name, None) for name in ("tokenizer", "tokenizer_2", "tokenizer_3")]
        rooms = [(len(r(text)["input_ids"]), r.model_max_length) for r in readers if hasattr(r, "model_max_length")]
        if rooms and all(long > room for long, room in rooms):
            long, room = max(rooms, key=lambda pair: pair[1])
            raise ConfigError(f"The text is too long: it has {long} tokens, and this pipeline reads {room}.")

    def evaluations(self, options: PipelineOptions) -> int:
        return options.steps or 50


class PipelineUpscaler(Model, Translator):
    """A pipeline of diffusers that makes pictures larger. prompt, steps: what it is told, and how many it takes, None for its own."""

    directions = ("large",)
    prompt: str = ""
    steps: int | None = None

    def __init__(self, config: PipelineConfig, pipe: Any, scale: int):
        super().__init__(config)
        self.pipe, self.scale = pipe, scale

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def translate(self, x: Tensor, to: str = "large") -> Tensor:
        height, width = (side * self.scale for side in x.shape[-2:])
        whole = pad_to_multiple(x, multiple(self.pipe))  # the pipeline would cut what is over
        given = {"prompt": [self.prompt] * len(x), "image": [to_pil(i) for i in whole]}
        steps = {} if self.steps is None else {"num_inference_steps": self.steps}
        return call(self.pipe, Rng(range(len(x)), seeds=range(len(x))), given | steps, None)[..., :height, :width]


def multiple(pipe: Any) -> int:
    """What sides of its pictures must be divisible by; where latents are packed that is twice what the autoencoder asks for."""
    processor = getattr(pipe, "image_processor", None)
    return int(processor.config.vae_scale_factor if processor is not None else getattr(pipe, "vae_scale_factor", 8))


def takes(pipe: Any) -> set[str]:
    """What can be said to a pipeline."""
    return set(inspect.signature(pipe.__call__).parameters)


def wishes(pipe: Any, options: PipelineOptions) -> dict[str, Any]:
    """What a pipeline calls our options; those that nobody asked for are left to it."""
    out = {"num_inference_steps": options.steps, "guidance_scale": options.guidance, "negative_prompt": options.negative or None}
    return {k: v for k, v in out.items() if v is not None}


def call(pipe: Any, rng: Rng, given: dict[str, Any], on_step: OnStep | None) -> Tensor:
    """Images (N, 3, H, W) in [-1, 1]. Every row has a generator of its own seed, as diffusers' users have. Raises ConfigError for what the
    pipeline does not take."""
    known = takes(pipe)
    if extra := [k for k in given if k not in known]:
        raise ConfigError(f"{type(pipe).__name__} does not take {', '.join(extra)}.")
    if isinstance(given.get("negative_prompt"), str):
        given["negative_prompt"] = [given["negative_prompt"]] * len(rng)

    def tick(_, step: int, t: Any, more: dict) -> dict:
        if on_step:
            on_step(min(step + 1, pipe.num_timesteps), pipe.num_timesteps)
        return more

    watched = {"callback_on_step_end": tick} if "callback_on_step_end" in known else {}
    seeds = rng.seeds or rng.keys
    generators = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
    with torch.no_grad(), torch.autocast("cpu", enabled=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = pipe(**given, generator=generators, output_type="pt", **watched).images
        except (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError)):  # the machine's fault, not theirs
            raise
        except (ArithmeticError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # How pipelines refuse what they are given; what `on_step` raises to stop is none of these.
            raise ConfigError(f"{type(pipe).__name__} refuses: {reason(error)}.") from None
    return made.float().cpu() * 2 - 1


def is_pipeline(path: Path) -> bool:
    """Whether diffusers has written this folder."""
    return (path / INDEX).is_file()


def fetched(name: str) -> Path:
    """A hub repository's folder on this machine, fetched where it is not there yet. Raises FileError where it cannot be had."""
    hub = library("huggingface_hub", "hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=FETCHED))
    except Exception as error:  # the library and the network raise many kinds
        raise FileError(f"{name} cannot be fetched from the Hugging Face hub: {reason(error)}.") from None


def load_pipeline(path: Path, device: torch.device, precision: str = "auto") -> tuple[Model, Precision]:
    """The pipeline of a folder as a model, and how it computes: fp32 on a CPU unless bf16 is asked for, bf16 on a GPU.

    Raises FileError for a folder with pickled weights, or one that diffusers cannot read.
    """
    if pickled := sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.suffix.lower() in PICKLES):
        raise FileError(f"{path} holds {pickled[0]}, which may be a pickle and run code: only safetensors are read.")
    if code := sorted(str(p.relative_to(path)) for p in path.rglob("*.py")):
        raise FileError(f"{path} holds {code[0]}, code that a pipeline may run: only folders of weights and settings are read.")
    library("transformers", "hub").logging.set_verbosity_error()
    diffusers = library("diffusers", "hub")
    diffusers.logging.set_verbosity_error()
    half = precision == "bf16" or (precision == "auto" and device.type != "cpu")
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(
            str(path), torch_dtype=torch.bfloat16 if half else torch.float32, use_safetensors=True, local_files_only=True
        )
    except Exception as error:  # diffusers and transformers raise many kinds
        raise FileError(f"{path} cannot be read by diffusers: {reason(error)}.") from None
    pipe.set_progress_bar_config(disable=True)
    spare(pipe, device)
    name, precise = type(pipe).__name__, Precision(half, False, 0.0, 0.0)
    if "Upscale" in name:
        side = _side(pipe)
        return PipelineUpscaler(PipelineConfig(shape=(3, side, side), pipeline=name), pipe, _times(pipe)), precise
    side = _side(pipe)
    return PipelineModel(PipelineConfig(shape=(3, side, side), pipeline=name), pipe), precise


def _times(pipe: Any) -> int:
    """How many times larger a pipeline makes pictures: latents as large as the picture are decoded, or twice as large ones encoded."""
    return 2 if "Latent" in type(pipe).__name__ else int(pipe.vae_scale_factor)


def _side(pipe: Any) -> int:
    """Of the pictures that a pipeline draws unless told otherwise."""
    net = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    size = getattr(pipe, "default_sample_size", None) or getattr(getattr(net, "config", None), "sample_size", None) or 64
    return int(size if isinstance(size, int) else size[0]) * int(getattr(pipe, "vae_scale_factor", 8))


def spare(pipe: Any, device: torch.device) -> list[str]:
    """Place a pipeline, and save memory where the machine has little beside its weights. Returns what was switched on."""
    weights = sum(p.numel() * p.element_size() for part in pipe.components.values() if isinstance(part, torch.nn.Module)
                  for p in part.parameters())  # fmt: skip
    free = free_memory(device)
    chosen = []
    if device.type == "cuda" and free < 1.3 * weights:
        pipe.enable_model_cpu_offload(device=device)
        chosen.append("offload")
    else:
        pipe.to(device)
    if free < 2.5 * weights:
        for name in ("enable_attention_slicing", "enable_vae_slicing"):
            if hasattr(pipe, name):
                getattr(pipe, name)()
                chosen.append(name.removeprefix("enable_"))
    return chosen


def free_memory(device: torch.device) -> int:
    """Bytes that are free, on a GPU or in the machine; very many where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62
