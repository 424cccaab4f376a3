"""Training over HTTP: what may be trained on what, and how it goes."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from inkwash.core.errors import nearest
from inkwash.server.errors import ApiError, invalid
from inkwash.server.protocol import Training
from inkwash.server.queue import TRAINING, Job
from inkwash.server.serving import Serving
from inkwash.server.trainer import curve

RECIPES = (  # that there are, but for `style`, whose painting would be a file of the server's; to look would import torch
    *("acgan", "autoencoder", "autoregressive", "caption", "caption-lstm", "cgan", "clip", "codes", "codes-transformer", "cyclegan"),
    *("dalle", "dcgan", "diagonal-lstm", "diffusion", "distill", "eye", "gan", "gated-pixelcnn", "gmm", "hmm", "latent-diffusion"),
    *("layout", "minimax", "pix2pix", "pixel-transformer", "pixel-upscaler", "pixelcnn", "plan", "rbm", "row-lstm", "sagan", "sequence"),
    *("sequence-lstm", "srgan", "text", "text-lstm", "told-autoencoder", "upscaler", "vae", "vqvae", "wgan", "wgan-gp"),
)
OTHERS = {"start": "to begin from", "teacher": "to learn from", "plan": "to plan"}  # models that a training may be given, and what for
MADE = ("scenes", "digits")  # data that need no files, with their settings behind a question mark
SETTINGS = ("train.", "objective.", "model.", "data.view.")  # what a request may set, by how it begins
OWN = ("train.device", "train.tensorboard", "objective.painting", "objective.network")  # and what of that is the owner's, or names a file
KEY = re.compile(r"[\w.-]+")
UNPACKED = 2 << 30  # bytes of an archive's files, at most
FILES, ENTRY = 200_000, b"PK\x01\x02"  # at most, and what each begins with in the list at the end of an archive


class Lessons:
    """The training side of a server."""

    def __init__(self, serving: Serving):
        self.serving, self.config = serving, serving.config
        self.runs, self.archives = self.config.folder / "runs", serving.archives

    def begin(self, asked: Training) -> Job:
        """A training as a job. Raises ApiError for what it may not do."""
        self._allowed()
        if (self.runs / asked.name).exists():
            raise ApiError(409, f"There is a run named {asked.name!r} already; give this one another name.", "run_exists", "name")
        if asked.name in self.serving.trained() | self.serving.queue.models().keys():
            raise ApiError(409, f"There is a training or a model named {asked.name!r}; give this one another name.", "run_exists", "name")
        payload = {"name": asked.name, "recipe": asked.recipe, "data": self._data(asked.data), "settings": self._settings(asked.settings)}
        payload |= {"budget": asked.budget, "steps": asked.steps}
        payload |= {field: self._model(getattr(asked, field), field) for field in OTHERS}
        return self.serving.submit(TRAINING, asked.name, payload)

    def _allowed(self) -> None:
        if not self.config.training:
            raise ApiError(403, "Training is switched off on this server.", "training_off")

    def figures(self, job: Job, most: int = 200) -> list[dict[str, Any]]:
        """The curve of a training so far."""
        return curve(self.runs / job.payload["name"], most)

    def samples(self, job: Job) -> list[str]:
        """Names of its sample grids, the oldest first."""
        return sorted(p.name for p in (self.runs / job.payload["name"] / "samples").glob("*.png"))

    def sample(self, job: Job, name: str) -> Path:
        """One of them. Raises ApiError."""
        if name not in self.samples(job):
            raise ApiError(404, "There is no such sample.", "not_found")
        return self.runs / job.payload["name"] / "samples" / name

    def keep(self, data: bytes) -> str:
        """Keep a zip of pictures to train on, and return its name. Raises ApiError for what is none, or unpacks to too much."""
        self._allowed()
        if data.count(ENTRY) > FILES:  # before they are listed, which takes long
            raise invalid(f"The archive holds more than {FILES} files.", "archive")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
            raise invalid("The archive is not a zip file that can be read.", "archive") from None
        if sum(e.file_size for e in entries) > UNPACKED:
            raise invalid(f"The archive holds more than {UNPACKED >> 30} GiB.", "archive")
        return self.archives.put(data, "zip")

    def _data(self, name: str) -> str:
        """What `inkwash train` is told: data that need no files, an archive that was sent, or a folder that the owner allows."""
        if name.partition("?")[0] in MADE and "/" not in name and "\\" not in name:
            return name
        folders = {p.name: p for p in self.config.data}
        if name in folders:
            return str(folders[name])
        kept = {p.name: p for p in self.archives.folder.glob("*.zip")}
        if name in kept:
            return str(kept[name])
        said = f"data is {', '.join(MADE)}, the name of an archive sent to /v1/training/archives, or one of the owner's folders"
        raise invalid(f"There are no data {name[:100]!r} here: {said}; {nearest(name[:100], [*MADE, *folders])}", "data", "unknown_data")

    def _model(self, name: str | None, field: str) -> str | None:
        """Where a model of this name lies. Raises ApiError."""
        if name is None:
            return None
        known = {k: facts["path"] for k, facts in self.serving.models().items()}
        known |= {p.parent.name: str(p.parent) for p in self.runs.glob("*/run.json")}
        if name not in known:
            raise invalid(f"There is no model {name[:100]!r} {OTHERS[field]}; {nearest(name[:100], known)}", field, "model_not_found")
        return known[name]

    def _settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        for key, value in settings.items():
            if not key.startswith(SETTINGS) or key in OWN or not KEY.fullmatch(key):
                raise invalid(f"The setting {key[:100]!r} cannot be set from here; those are {', '.join(SETTINGS)}...", "settings")
            if isinstance(value, str) and not all(c.isalnum() or c in "-_. " for c in value):
                raise invalid(f"The setting {key[:100]!r} is a plain word or a number.", "settings")
        return settings
