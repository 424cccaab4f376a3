"""Models that draw what is written."""

from inkwash.core.config import ModelConfig
from inkwash.core.errors import ConfigError
from inkwash.core.objective import CAPTIONS
from inkwash.core.words import is_chinese
from inkwash.data import Facts, Source, View, open_source
from inkwash.diffusion.options import DiffusionOptions
from inkwash.methods.autoencoder import AutoencoderConfig, ReconstructionConfig
from inkwash.methods.captioner import CaptionerConfig, CaptioningConfig
from inkwash.methods.clip import ClipConfig, ContrastiveConfig
from inkwash.methods.dalle import DalleConfig, NextTokenConfig
from inkwash.methods.diffusion import PLAN_TIMES, DenoisingConfig, DiffusionConfig, LatentConfig
from inkwash.methods.eye import EyeConfig
from inkwash.methods.fitting import FitConfig
from inkwash.methods.layout import LayoutConfig, NextBoxConfig
from inkwash.methods.text_lstm import StagesConfig, TextLSTMConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.grounding import GroundingConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.sketch import SketchConfig
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig, learn_tokenizer, remembered, words
from inkwash.nn.unet import UNetConfig
from inkwash.nn.writers import LSTMWriterConfig, TransformerWriterConfig, Writer
from inkwash.training import DataConfig, RunConfig, TrainConfig

LATENTS = ("autoencoder", "eye")  # kinds that a text model may diffuse among the latents of
BOXED = {"mean": -0.5, "std": 1.1}  # times, after boxes: the noisy end is settled by these
READING = 0.02  # weight of what a teacher reads
READ = 20_000  # captions that a tokenizer is learnt from, at most


def captions_of(source: str) -> list[str]:
    """Captions of a source, about READ of them at most, from all over it. Raises ConfigError where there are none."""
    known = open_source(source)
    step = max(1, len(known) * len(known.text(0)) // READ)
    texts = [text for i in range(0, len(known), step) for text in known.text(i)]
    if not texts:
        raise ConfigError(f"{source} has no captions to learn from: {CAPTIONS}.")
    return texts


def tokenizer_of(source: str, merges: int = 1000) -> TokenizerConfig:
    """The tokenizer of a source's captions, with room for the longest, and all their words. Raises ConfigError where there are none."""
    texts = captions_of(source)
    config = learn_tokenizer(texts, merges)
    known = open_source(source)
    if not known.made and type(known).text is not Source.text:  # texts are told without a look at the pictures
        texts = [text for i in range(len(known)) for text in known.text(i)]
        config = config.model_copy(update={"words": remembered(word for text in texts for word in words(text))})
    longest = max(len(config.build().encode(text)) for text in texts)
    return config.model_copy(update={"length": min(256, max(16, -(-(longest + 1) // 16) * 16 + 16))})


def also_of(source: str, tokenizer: TokenizerConfig) -> TokenizerConfig:
    """The tokenizer of a model that goes on with a source: it comes to know that one's words as well."""
    known = {*tokenizer.words, *tokenizer_of(source, 0).words} if tokenizer.words else ()
    return tokenizer.model_copy(update={"words": tuple(sorted(known))})


def told_autoencoder(source: str, facts: Facts) -> RunConfig:
    """An auto-encoder whose latents also tell the caption, 16 numbers for 8 x 8 pixels: for `text --from` it."""
    shape, short = (facts.channels, facts.height, facts.width), min(facts.height, facts.width)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=shape[0])),
        model=AutoencoderConfig(shape=shape, latent=16, net=GridConfig(stride=8 if short >= 48 else 4 if short >= 16 else 2, width=32)),
        objective=ReconstructionConfig(telling=2e-3, tokenizer=tokenizer_of(source)),
        train=TrainConfig(batch=32, optimizer="muon", samples=32),
    )


def text(
    source: str, facts: Facts, start: ModelConfig | None = None, plan: ModelConfig | None = None, teacher: ModelConfig | None = None
) -> RunConfig:
    """Diffusion that attends to the words of a caption: on pixels; --from an auto-encoder, among its latents; --from such a model, on.
    --plan RUN of the recipe `plan`: it draws after such plans. --from a plan, --teacher the captioner that reads it."""
    config = _begun(source, facts, start)
    if teacher is not None:
        config = config.model_copy(update={"objective": config.objective.model_copy(update={"teacher": teacher, "reading": READING})})
    model, objective = config.model, config.objective
    if plan is not None:
        model = model.model_copy(update={"plan": plan, "grounding": GroundingConfig() if plan.kind == "layout" else None})
        objective = objective.model_copy(update={"planning": 0.0})  # it is learnt already
    if model.grounding:
        objective = objective.model_copy(update=BOXED)
    return config.model_copy(update={"model": model, "objective": objective})


def _begun(source: str, facts: Facts, start: ModelConfig | None) -> RunConfig:
    if start is not None and start.kind not in LATENTS:
        return _further(source, facts, start)
    shape = (facts.channels, facts.height, facts.width) if start is None else start.shape
    reader = TextConfig(width=128, blocks=3, tokenizer=tokenizer_of(source))
    known = {"shape": shape, "text": reader, "options": DiffusionOptions(guidance=2.0)}
    if start is None:
        short = min(shape[1:])
        fold = 1 if short <= 12 else 2 if short <= 40 else 4
        net = UNetConfig(width=64, mults=(1, 3), blocks=2, fold=fold, attention=(1,), gate=True, positions=True)
        model, times = DiffusionConfig(**known, net=net, prediction="edm"), DenoisingConfig(mean=0.0)
    else:
        net = UNetConfig(width=128, mults=(1,), blocks=3, fold=1, attention=(0,), head=32, fine=64, gate=True, positions=True)
        model, times = LatentConfig(**known, net=net, prediction="edm", autoencoder=start), DenoisingConfig(mean=0.4, std=1.2)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=shape[0])),
        model=model,
        objective=times,  # noisier than for pictures without words: that is where the words are heeded
        train=TrainConfig(batch=32, optimizer="muon", lr=3e-3, warm_up=2000, decay=1.0, ema_share=0.01, samples=16),
        part=None if start is None else "autoencoder",
    )


def _further(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """A trained model on other data: its own size, tokenizer and words; smaller steps."""
    if start.kind not in ("diffusion", "latent") or start.text is None:
        raise ConfigError(
            f"The recipe 'text' goes on with a diffusion model that reads text, or among the latents of an 'autoencoder', "
            f"not with a {start.kind!r} model."
        )
    blind = start.grounding and not facts.boxed  # of pictures that tell of no boxes: they would be drawn where these are not
    model = start.model_copy(update={"plan": None, "grounding": None}) if blind else start
    if isinstance(start.text, TextConfig):
        model = model.model_copy(update={"text": _reads_also(start.text, source)})
    else:
        captions_of(source)  # refuses here
    times = {"mean": 0.4, "std": 1.2} if start.kind == "latent" else {"mean": 0.0}
    return RunConfig(
        data=DataConfig(source=source, view=View(size=start.shape[1:], channels=start.shape[0])),
        model=model,
        objective=DenoisingConfig(
            **times, planning=float(start.plan is not None and not start.grounding), sketching=float(start.sketch is not None)
        ),  # of other pictures
        train=TrainConfig(batch=32, lr=2e-4, warm_up=500, decay=1.0, ema=2000.0, samples=16),
    )


def _reads_also(text: TextConfig, source: str) -> TextConfig:
    return text.model_copy(update={"tokenizer": also_of(source, text.tokenizer)})


def eye(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """What a captioner, --from RUN, sees in each place of a picture, on its first components: for `plan --from` it. Fitted at once.

    Raises ConfigError for another model.
    """
    if start.kind != "captioner":
        raise ConfigError(f"The recipe 'eye' takes the eye of a 'captioner', which a {start.kind!r} model has not.")
    return RunConfig(
        data=DataConfig(source=source, view=View(size=start.shape[1:], channels=start.shape[0])),
        model=EyeConfig(shape=start.shape, net=start.eye, features=start.d, keep=min(32, start.d)),
        objective=FitConfig(images=8000),
        train=TrainConfig(steps=1, precision="fp32"),
    )


def plan(source: str, facts: Facts, start: ModelConfig, teacher: ModelConfig) -> RunConfig:
    """Diffusion among an eye's features, --from its run: what shall be where. It reads as a text model does, its teacher, that will draw
    after such plans: `text --from` that one `--plan` this.

    Raises ConfigError for a teacher that did not learn to read by itself.
    """
    if not isinstance(getattr(teacher, "text", None), TextConfig):
        raise ConfigError(f"A plan is for a diffusion model that learnt to read by itself; a {teacher.kind!r} model did not.")
    config = text(source, facts, _same("eye", start))
    reader = config.model.text.model_copy(update={"tokenizer": teacher.text.tokenizer})
    model = config.model.model_copy(update={"text": reader, "sketch": SketchConfig()})
    return config.model_copy(update={"model": model, "objective": DenoisingConfig(**PLAN_TIMES, sketching=1.0)})


def layout(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """A transformer that tells from a text which things shall be where, learnt from boxes. It begins from the reader of a model that draws
    from texts, --from its run, which will draw after such layouts: `text --from` that one `--plan` this; --from a layout, it goes on.

    Raises ConfigError for a model that did not learn to read by itself.
    """
    shape = (facts.channels, facts.height, facts.width)
    if start.kind == "layout":
        model = start.model_copy(update={"text": _reads_also(start.text, source)})
    else:
        model = _new_layout(start, shape)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=shape[0])),
        model=model,
        objective=NextBoxConfig(),
        train=TrainConfig(batch=64, optimizer="muon", lr=2e-3, warm_up=5000, decay=1.0, samples=16),
    )


def _new_layout(start: ModelConfig, shape: tuple[int, int, int]) -> LayoutConfig:
    """One that reads as a text model does, or the plan that this has."""
    reader = next((c.text for c in (getattr(start, "plan", None), start) if isinstance(getattr(c, "text", None), TextConfig)), None)
    if reader is None:
        raise ConfigError(f"A layout is for a diffusion model that learnt to read by itself; a {start.kind!r} model did not.")
    return LayoutConfig(
        shape=shape, text=reader, writer=TransformerWriterConfig(width=reader.width, blocks=4), parts=min(256, max(shape[1:]))
    )


def dalle(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """Text and the codes of a trained VQ-VAE, --from RUN, as one sequence."""
    model = DalleConfig(shape=start.shape, tokenizer=tokenizer_of(source), autoencoder=start)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=start.shape[1:], channels=start.shape[0])),
        model=model,
        objective=NextTokenConfig(),
        train=TrainConfig(batch=64, optimizer="muon", lr=2e-3, samples=16),
        part="autoencoder",
    )


def text_lstm(source: str, facts: Facts) -> RunConfig:
    """An LSTM that draws from coarse to fine: an older design, to compare with."""
    shape = (facts.channels, facts.height, facts.width)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=TextLSTMConfig(shape=shape, eye=PyramidConfig(width=32, most=128, fold=_fold(shape)), tokenizer=tokenizer_of(source)),
        objective=StagesConfig(),
        train=TrainConfig(batch=64, optimizer="muon", lr=1e-3, samples=16),
    )


def _fold(shape: tuple[int, int, int]) -> int:
    return 1 if min(shape[1:]) <= 12 else 2


def clip(source: str, facts: Facts, start: ModelConfig | None = None) -> RunConfig:
    """Pictures and captions in one space of 128 numbers; --from one, it goes on."""
    shape = (facts.channels, facts.height, facts.width)
    if start is None:
        model = ClipConfig(shape=shape, eye=PyramidConfig(fold=_fold(shape)), text=TextConfig(tokenizer=tokenizer_of(source)))
    else:
        model = _same("clip", start)
        if isinstance(model.text, TextConfig):
            model = model.model_copy(update={"text": _reads_also(model.text, source)})
    return RunConfig(
        data=DataConfig(source=source, view=View(size=model.shape[1:], channels=model.shape[0])),
        model=model,
        objective=ContrastiveConfig(),
        train=TrainConfig(batch=128, optimizer="muon", lr=1e-3, warm_up=5000, decay=1.0),
    )


def caption(source: str, facts: Facts, start: ModelConfig | None = None) -> RunConfig:
    """A transformer that looks at a map of 8 x 8 places or so, and writes; --from a captioner, it goes on."""
    return _captioner(TransformerWriterConfig(), source, facts, start)


def caption_lstm(source: str, facts: Facts, start: ModelConfig | None = None) -> RunConfig:
    """An LSTM that looks before every word: Show, Attend and Tell; --from a captioner, it goes on."""
    return _captioner(LSTMWriterConfig(), source, facts, start)


def _captioner(writer: Writer, source: str, facts: Facts, start: ModelConfig | None) -> RunConfig:
    if start is None:
        model = _new_captioner(writer, source, facts)
    else:
        model = _same("captioner", start).model_copy(update={"tokenizer": also_of(source, start.tokenizer)})
    return RunConfig(
        data=DataConfig(source=source, view=View(size=model.shape[1:], channels=model.shape[0])),
        model=model,
        objective=CaptioningConfig(),
        train=TrainConfig(batch=64, optimizer="muon", lr=1e-3, warm_up=5000, decay=1.0),
    )


def _new_captioner(writer: Writer, source: str, facts: Facts) -> CaptionerConfig:
    short, texts = min(facts.height, facts.width), captions_of(source)
    eye = GridConfig(stride=8 if short >= 48 else 4 if short >= 16 else 2)
    spoken = tuple(lang for lang, chinese in (("en", False), ("zh", True)) if any(is_chinese(t) == chinese for t in texts))
    shape = (facts.channels, facts.height, facts.width)
    return CaptionerConfig(shape=shape, eye=eye, writer=writer, tokenizer=tokenizer_of(source), languages=spoken)


def _same(kind: str, start: ModelConfig) -> ModelConfig:
    """The model that training goes on with. Raises ConfigError for another kind."""
    if start.kind != kind:
        raise ConfigError(f"This recipe goes on with a {kind!r} model, not with a {start.kind!r} one.")
    return start
