"""The command `inkwash`: verbs in four groups. Nothing heavy is imported before a verb needs it."""

import sys
from typing import Annotated, Any

import typer

from inkwash.cli import flags, grid, serve
from inkwash.cli.flags import Background, Code, Device, Download, Guidance, Json, Out, OwnOption, PrecisionName, Solver, Steps
from inkwash.cli.garbage import spare_what_stays

MAKE, CHANGE, MEASURE, DESCRIBE = "Make", "Change", "Measure", "Describe"

app = typer.Typer(
    name="inkwash",
    help="Make images with every family of generative model that matters: train on your own pictures, sample, measure.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def start(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from inkwash import __version__

        typer.echo(f"inkwash {__version__}")
        raise typer.Exit()


@app.command(rich_help_panel=MAKE)
@flags.labelled
def draw(
    prompt: Annotated[str, typer.Argument(help="What to draw, in English, in Chinese, or in both.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many pictures.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first picture; the next ones count up.")] = 0,
    size: Annotated[str | None, typer.Option("--size", help="64, or width x height as 96x64.", show_default=False)] = None,
    model: Annotated[str, typer.Option("--model", help="A model by name, a run, or a folder or hub name of diffusers.")] = "scenes-64",
    out: Annotated[str, typer.Option("--out", help="A PNG, JPEG or WebP file for one picture, or a folder.")] = "drawn",
    negative: Annotated[str | None, typer.Option("--negative", help="What not to draw.", show_default=False)] = None,
    maps: Annotated[str | None, typer.Option("--maps", help="A PNG file: where each word was looked up.", show_default=False)] = None,
    judge: Annotated[str | None, typer.Option("--judge", help="A run of clip or caption: it keeps the best.", show_default=False)] = None,
    of: Annotated[int | None, typer.Option("--of", min=1, help="Of how many drawings a judge keeps one.", show_default=False)] = None,
    background: Background = None,
    solver: Solver = None,
    steps: Steps = None,
    guidance: Guidance = None,
    option: OwnOption = None,
    precision: PrecisionName = "auto",
    allow_download: Download = False,
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
    given: Any = None,
) -> None:
    """Draw what is written."""
    from inkwash.cli.draw import run

    named = flags.said(negative=negative, solver=solver, steps=steps, guidance=guidance)
    how = {"precision": precision, "device": device, "code": code, "json": json, "download": allow_download}
    how |= {"judge": judge, "of": of, "background": background, "maps": maps, "given": given}
    run(prompt, model, out, n, seed, size, named, option or [], how)


@app.command(rich_help_panel=MAKE)
def train(
    recipe: flags.Recipe = None,
    data: flags.Data = None,
    data_b: Annotated[str | None, typer.Option("--data-b", help="The other kind of picture, for cyclegan.", show_default=False)] = None,
    out: Out = "runs/run",
    setting: Annotated[list[str] | None, typer.Option("--set", help="One setting, as key=value; may be repeated.")] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="Time to train for: 90s, 2h; 10m unless said, or --steps.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps to train for; the first ends it, of both.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="A run or model folder to begin from.", show_default=False)] = None,
    teacher: Annotated[str | None, typer.Option("--teacher", help="A run or model folder to be taught by.", show_default=False)] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="A run or model folder to draw after.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the configuration and what it costs, and stop.")] = False,
    code: Code = None,
    json: Json = False,
) -> None:
    """Train a model. Ctrl-C saves and says how to go on."""
    from inkwash.cli.train import run

    settings = [*(setting or []), *([f"data.beside={data_b}"] if data_b else [])]
    run(recipe, data, out, settings, budget, steps, resume, dry_run, code, json, start, teacher, plan)


@app.command(rich_help_panel=MAKE)
@flags.labelled
def sample(
    model: Annotated[str, typer.Argument(help="A run or a model folder.")],
    out: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")] = 64,
    label: Annotated[str | None, typer.Option("--class", help="A class by name or number; else as often as in the training set.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first image; the next ones count up.")] = 0,
    size: Annotated[str | None, typer.Option("--size", help="Diffusion: 64, or width x height as 96x64.", show_default=False)] = None,
    solver: Solver = None,
    steps: Steps = None,
    guidance: Guidance = None,
    option: OwnOption = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images made at once.")] = 64,
    precision: PrecisionName = "auto",
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
    given: Any = None,
) -> None:
    """Make images with a trained model: one PNG an image, and grid.png."""
    from inkwash.cli.sample import run

    named = flags.said(solver=solver, steps=steps, guidance=guidance)
    run(model, out, n, label, seed, size, named, option or [], batch, precision, device, code, json, given)


@app.command(rich_help_panel=CHANGE)
@flags.labelled
def upscale(
    picture: Annotated[list[str], typer.Argument(help="Files to enlarge.")],
    out: Annotated[str, typer.Option("--out", help="A file for one picture, a folder for several.")],
    scale: Annotated[int, typer.Option("--scale", min=2, max=16, help="How many times larger.")] = 4,
    model: flags.Enlarger = "upscaler",
    tile: Annotated[str, typer.Option("--tile", help="Side of a piece of the picture, in its pixels, or auto.")] = "auto",
    prompt: Annotated[str | None, typer.Option("--prompt", help="What a pipeline is told.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of a pipeline.", show_default=False)] = None,
    allow_download: Download = False,
    device: Device = "auto",
    json: Json = False,
    given: Any = None,
) -> None:
    """Make pictures larger, of any size, in little memory."""
    from inkwash.cli.pictures import upscale as run

    run(picture, out, scale, model, tile, device, json, allow_download, prompt, steps, given)


@app.command(rich_help_panel=CHANGE)
@flags.labelled
def style(
    picture: Annotated[str, typer.Argument(help="The photograph.")],
    painting: Annotated[str, typer.Option("--style", help="The picture whose style it takes.", show_default=False)],
    out: Annotated[str, typer.Option("--out", help="A PNG, JPEG or WebP file, or a folder.")],
    strength: Annotated[float, typer.Option("--strength", min=0, help="How much the style counts.")] = 1.0,
    keep_colour: Annotated[bool, typer.Option("--keep-colour", help="Paint the brightness only.")] = False,
    size: Annotated[int | None, typer.Option("--size", min=16, help="Long side of the result, in pixels.", show_default=False)] = None,
    network: Annotated[str, typer.Option("--network", help="own, squeezenet:FILE or vgg19:FILE.")] = "own",
    option: Annotated[list[str] | None, typer.Option("-o", help="steps, optimizer, smooth, coarse or lr, as key=value.")] = None,
    device: Device = "auto",
    json: Json = False,
    given: Any = None,
) -> None:
    """Paint a photograph in the style of another picture."""
    from inkwash.cli.style import run

    run(picture, painting, out, strength, keep_colour, size, network, option or [], device, json, given)


@app.command(rich_help_panel=CHANGE)
@flags.labelled
def translate(
    model: Annotated[str, typer.Argument(help="A run or a model folder.")],
    picture: Annotated[list[str], typer.Argument(help="Files to translate.")],
    out: Annotated[str, typer.Option("--out", help="A file for one picture, a folder for several.")],
    to: Annotated[
        str | None, typer.Option("--to", help="What to make, where the model makes two things: a or b.", show_default=False)
    ] = None,
    tile: Annotated[str, typer.Option("--tile", help="Side of a piece of the picture, in pixels, or auto.")] = "auto",
    device: Device = "auto",
    json: Json = False,
    given: Any = None,
) -> None:
    """Make one kind of picture into another."""
    from inkwash.cli.pictures import translate as run

    run(model, picture, out, to, tile, device, json, given)


@app.command(rich_help_panel=CHANGE)
@flags.labelled
def edit(
    model: Annotated[str, typer.Argument(help="A run or a model folder.")],
    image: Annotated[str, typer.Option("--image", help="The picture to start from.", show_default=False)],
    out: Out,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What the result shall show, for models that read.")] = None,
    mask: Annotated[str | None, typer.Option("--mask", help="White, or transparent, where something new shall be.")] = None,
    extend: Annotated[str | None, typer.Option("--extend", help="Pixels to add: 8, or 8,0,8,0 for top, right, bottom, left.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Another picture: n steps from the one to the other.")] = None,
    vary: Annotated[float | None, typer.Option("--vary", help="Variations: just above 0 the same picture, 1 another one.")] = None,
    strength: Annotated[float | None, typer.Option("--strength", help="Share of the way to noise: 0.6 without a mask.")] = None,
    label: Annotated[str | None, typer.Option("--class", help="A class by name or number; none unless said.")] = None,
    was: Annotated[str | None, typer.Option("--was", help="The picture's class: it goes to noise as that, comes back as --class.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many results.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first result; the next ones count up.")] = 0,
    keep_size: Annotated[bool, typer.Option("--keep-size", help="Leave the picture as large as it is.")] = False,
    solver: Solver = None,
    steps: Steps = None,
    guidance: Guidance = None,
    option: OwnOption = None,
    precision: PrecisionName = "auto",
    allow_download: Download = False,
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
    given: Any = None,
) -> None:
    """Change a picture with a diffusion model: repaint, inpaint, extend, vary, make it another class, or lead it over to another one."""
    from inkwash.cli.edit import run

    wishes = {"image": image, "prompt": prompt, "mask": mask, "to": to, "vary": vary, "label": label, "was": was}
    wishes |= {"n": n, "seed": seed, "keep_size": keep_size}
    named = {"strength": strength, "solver": solver, "steps": steps, "guidance": guidance}
    how = {"precision": precision, "device": device, "code": code, "json": json, "download": allow_download, "given": given}
    run(model, out, wishes, extend, named, option or [], how)


@app.command(rich_help_panel=CHANGE)
@flags.labelled
def interpolate(
    model: Annotated[str, typer.Argument(help="A run or a model folder.")],
    start: Annotated[str, typer.Option("--from", help="The picture to start from.", show_default=False)],
    out: Out,
    to: Annotated[str | None, typer.Option("--to", help="The picture to arrive at.", show_default=False)] = None,
    dims: Annotated[int, typer.Option("--dims", min=0, help="Instead: go along so many single latent numbers, those that say most.")] = 0,
    n: Annotated[int, typer.Option("-n", min=2, help="How many pictures, both ends among them.")] = 8,
    how: Annotated[str, typer.Option("--how", help="spherical or linear.")] = "spherical",
    label: Annotated[str | None, typer.Option("--class", help="The class, where the model has classes.")] = None,
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
    given: Any = None,
) -> None:
    """Make the pictures between two, or along single numbers of one, through the latents of an autoencoder."""
    from inkwash.cli.latents import interpolate as run

    run(model, start, to, dims, n, how, label, out, {"device": device, "code": code, "json": json, "given": given})


@app.command(rich_help_panel=CHANGE)
@flags.labelled
def arithmetic(
    model: Annotated[str, typer.Argument(help="A run or a model folder.")],
    plus: Annotated[str, typer.Option("--plus", help="A folder of pictures that have something.", show_default=False)],
    minus: Annotated[str, typer.Option("--minus", help="A folder of pictures that have it not.", show_default=False)],
    on: Annotated[str, typer.Option("--on", help="The picture that gets it.", show_default=False)],
    out: Annotated[str, typer.Option("--out", help="A PNG, JPEG or WebP file, or a folder.")],
    amount: Annotated[float, typer.Option("--amount", help="How much of it; below 0 takes it away.")] = 1.0,
    label: Annotated[str | None, typer.Option("--class", help="The class, where the model has classes.")] = None,
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
    given: Any = None,
) -> None:
    """Add to a picture what one folder of pictures has and another has not, through the latents of an autoencoder."""
    from inkwash.cli.latents import sums as run

    run(model, plus, minus, on, amount, label, out, {"device": device, "code": code, "json": json, "given": given})


@app.command(rich_help_panel=CHANGE)
@flags.labelled
def predict(
    model: Annotated[str, typer.Argument(help="A run or a model folder.")],
    frames: Annotated[str, typer.Option("--frames", help="An animation, or a folder of frames.", show_default=False)],
    out: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="How many frames to make.")] = 10,
    futures: Annotated[int, typer.Option("--futures", min=1, help="How many times; they differ where the model is stochastic.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first future; the next ones count up.")] = 0,
    rate: Annotated[float, typer.Option("--rate", min=1, max=50, help="Frames a second of the GIF.")] = 10.0,
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
    given: Any = None,
) -> None:
    """Go on from the frames of a clip: GIF and frames."""
    from inkwash.cli.predict import run

    run(model, frames, n, futures, seed, out, rate, device, code, json, given)


@app.command(rich_help_panel=MAKE)
def demo(
    out: Out = "demo-out",
    budget: Annotated[str | None, typer.Option("--budget", help="Time to train for; 80,000 pictures or 10m unless said.")] = None,
    json: Json = False,
) -> None:
    """Train on the embedded world, draw every class, and read the pictures back: the whole tour, in ten minutes or so."""
    from inkwash.cli.demo import run

    run(out, budget, json)


@app.command(rich_help_panel=CHANGE)
def export(
    model: Annotated[str, typer.Argument(help="A run or a model folder.")],
    out: Annotated[str, typer.Option("--out", help="The .onnx file to write.", show_default=False)],
    code: Code = None,
    json: Json = False,
) -> None:
    """Write a model's network as an ONNX file, for other runtimes."""
    from inkwash.cli.export import run

    run(model, out, code, json)


@app.command(rich_help_panel=MEASURE)
def evaluate(
    what: Annotated[str, typer.Argument(help="A run, a model folder, or a folder of images.")],
    data: Annotated[str, typer.Option("--data", help="The data to measure against.", show_default=False)],
    n: Annotated[int, typer.Option("-n", min=2, help="How many images.")] = 10000,
    metrics: flags.Metrics = "auto",
    extractor: Annotated[str, typer.Option("--extractor", help="own, or squeezenet:FILE, inception:FILE, dinov2:PATH, clip:PATH.")] = "own",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Sampling seeds; 3 gives the spread.")] = 1,
    option: Annotated[list[str] | None, typer.Option("-o", help="A sampling option of the model, as key=value; may be repeated.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images made at once.")] = 128,
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
) -> None:
    """Measure a model, or a folder of images, against real images."""
    from inkwash.cli.evaluate import run

    run(what, data, n, metrics, extractor, seeds, option or [], batch, device, code, json)


@app.command(rich_help_panel=MEASURE)
def nearest(
    pictures: Annotated[list[str], typer.Argument(help="Files, or folders of PNG files.")],
    data: Annotated[str, typer.Option("--data", help="What the model was trained on.", show_default=False)],
    n: Annotated[int, typer.Option("-n", min=1, help="How many for each.")] = 3,
    extractor: Annotated[str, typer.Option("--extractor", help="As of evaluate.")] = "own",
    out: Annotated[str, typer.Option("--out", help="A PNG file.")] = "nearest.png",
    json: Json = False,
) -> None:
    """Show the training pictures that made ones are most like: new, or copied?"""
    from inkwash.cli.nearest import run

    run(pictures, data, n, extractor, out, json)


@app.command(rich_help_panel=DESCRIBE)
def caption(
    picture: Annotated[list[str], typer.Argument(help="Files to describe.")],
    model: Annotated[str, typer.Option("--model", help="A model by name, or a run.")] = "caption-scenes",
    lang: Annotated[str | None, typer.Option("--lang", help="en or zh (en).", show_default=False)] = None,
    maps: Annotated[str | None, typer.Option("--maps", help="A PNG file, or a folder: where it looked.", show_default=False)] = None,
    beams: Annotated[int | None, typer.Option("--beams", min=1, help="Beginnings that are kept (4).", show_default=False)] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", min=0, help="Above 0, words are drawn.", show_default=False)] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of what is drawn.")] = 0,
    option: OwnOption = None,
    allow_download: Download = False,
    device: Device = "auto",
    code: Code = None,
    json: Json = False,
) -> None:
    """Say what is in a picture."""
    from inkwash.cli.caption import run

    named = flags.said(lang=lang, beams=beams, temperature=temperature)
    how = {"device": device, "download": allow_download, "code": code, "json": json}
    run(picture, model, maps, seed, named, option or [], how)


app.command(name="grid", rich_help_panel=MAKE)(grid.grid)
app.command(name="serve", rich_help_panel=MAKE)(serve.serve)


@app.command(rich_help_panel=DESCRIBE)
def show(
    what: Annotated[str, typer.Argument(help="methods, recipes, models, data, a run, a model folder, or a picture.")] = "methods",
    json: Json = False,
) -> None:
    """Show what exists, what a run is, or what made a picture."""
    from inkwash.cli.show import run

    run(what, json)


@app.command(rich_help_panel=DESCRIBE)
def doctor(json: Json = False) -> None:
    """Show what this machine is good at: device, precision, threads, versions, and what is slow here and why."""
    from inkwash.cli.doctor import run

    run(json)


def main() -> None:
    """Run the command line. What a user can put right is one sentence and exit code 2."""
    from inkwash.core.errors import InkwashError

    spare_what_stays()
    try:
        app()
    except InkwashError as error:
        typer.secho(f"inkwash: {error}", fg="red", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("inkwash: stopped.", err=True)
        sys.exit(130)
