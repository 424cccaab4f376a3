"""Options that several verbs have, with their help."""

from typing import Annotated

import typer

Out = Annotated[str, typer.Option("--out", help="Folder to write to.", show_default=False)]
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
