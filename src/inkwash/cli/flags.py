"""Options that several verbs have, with their help."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

Out = Annotated[str, typer.Option("--out", help="Folder to write to.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]
Solver = Annotated[
    str | None, typer.Option("--solver", help="Diffusion: dpmpp-2m, unipc, heun, ddim, ddpm, ..., diffusers:NAME.", show_default=False)
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Diffusion: steps of the solver (14).", show_default=False)]
Guidance = Annotated[float | None, typer.Option("--guidance", help="Diffusion: 1 is off; above, the class shows more.", show_default=False)]
Code = Annotated[str | None, typer.Option("--code", help="A Python file of yours that the run's model is defined in.", show_default=False)]
Download = Annotated[bool, typer.Option("--allow-download", help="A model's name may be fetched from the Hugging Face hub.")]
OwnOption = Annotated[list[str] | None, typer.Option("-o", help="An option of the model's own, as key=value; may be repeated.")]
PrecisionName = Annotated[str, typer.Option("--precision", help="auto, bf16 or fp32.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, mps, or auto for the best that is there.")]
Background = Annotated[str | None, typer.Option("--background", help="A colour to lay under transparent pictures.", show_default=False)]
Recipe = Annotated[str | None, typer.Argument(help="A recipe (`inkwash show recipes`), or FILE.py:FUNCTION; none with --resume.")]
Data = Annotated[str | None, typer.Option("--data", help="A folder of images, zip, tar, .npz, IDX, hf:NAME, scenes, digits or moving.")]
Enlarger = Annotated[
    str, typer.Option("--model", help="A model by name, its run, a pipeline of diffusers, or nearest, bilinear, bicubic, lanczos, spline.")
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics",
        help="Some of fd, kid, prdc, memory, bpd, iwae, density, codes, psnr, ssim, mse; prompts; captions; retrieval; or auto.",
    ),
]

# What pictures say of their making: five options that arrive as one object.
PROVENANCE = {
    "label": (
        Annotated[str | None, typer.Option("--label", help="cn: the label of GB 45438-2025 for pictures by AI.", show_default=False)],
        None,
    ),
    "visible": (Annotated[bool, typer.Option("--visible", help="Draw a mark into a corner, for people to see: AI生成.")], False),
    "producer": (
        Annotated[str | None, typer.Option("--producer", help="For the label: your service's name or code.", show_default=False)],
        None,
    ),
    "impersonal": (Annotated[bool, typer.Option("--impersonal", help="Write no prompt, name, model or seed into files.")], False),
    "sign": (
        Annotated[str | None, typer.Option("--sign", help="A folder with key.pem and chain.pem: sign by C2PA.", show_default=False)],
        None,
    ),
}


def said(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def labelled(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that has the options of PROVENANCE in place of its parameter `given`, which gets a Provenance made of them."""
    own = {f"their_{name}": kind for name, kind in PROVENANCE.items()}  # a verb may have a `label` of its own

    @functools.wraps(verb)
    def run(**options: Any) -> None:
        from inkwash.inference.provenance.write import Provenance

        wishes = {name: options.pop(f"their_{name}") for name in PROVENANCE}
        given = Provenance.parse({"personal": not wishes.pop("impersonal"), **wishes})
        given.check()
        verb(**options, given=given)

    plain = [p for name, p in inspect.signature(verb, eval_str=True).parameters.items() if name != "given"]
    more = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=usual) for n, (kind, usual) in own.items()]
    run.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in plain] + more)
    run.__annotations__ = {p.name: p.annotation for p in [*plain, *more]}
    return run
