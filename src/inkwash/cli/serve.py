"""inkwash serve."""

import os
import socket
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from inkwash.cli.flags import Device, PrecisionName, labelled

KEY = "INKWASH_API_KEY"  # of the environment


@labelled
def serve(
    model: Annotated[list[str] | None, typer.Argument(help="Models by name, runs, or folders; the first is meant unless said.")] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on; any but this machine's own needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any that is free.")] = 8000,
    folder: Annotated[str, typer.Option("--folder", help="Where the queue and the pictures lie.")] = "served",
    api_key_file: Annotated[str | None, typer.Option("--api-key-file", help="A file with a key.", show_default=False)] = None,
    allow_host: Annotated[list[str] | None, typer.Option("--allow-host", help="A name that requests may call this server by.")] = None,
    training: Annotated[bool, typer.Option("--training/--no-training", help="Whether requests may train models.")] = True,
    data: Annotated[list[str] | None, typer.Option("--data", help="A folder that requests may train on.")] = None,
    sizes: Annotated[str, typer.Option("--sizes", help="scale or refuse, where no model makes the size asked for.")] = "scale",
    keep: Annotated[float | None, typer.Option("--keep", help="Hours that pictures stay (for good).", show_default=False)] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", help="body, pixels, images, steps, prompt, queue or seconds=N.")] = None,
    precision: PrecisionName = "auto",
    device: Device = "auto",
    given: Any = None,
) -> None:
    """Serve models to any client of the Images API, and to a page in the browser."""
    from inkwash.cli.common import pairs

    settings = {
        "host": host,
        "port": port,
        "hosts": allow_host or [],
        "sizes": sizes,
        "training": training,
        "data": data or [],
        "keep": keep,
        "limits": pairs(limit or []),
    }
    run(model or [], folder, api_key_file, settings | {"precision": precision, "device": device, "provenance": given})


def run(models: list[str], folder: str, key_file: str | None, settings: dict[str, Any]) -> None:
    """Until Ctrl-C."""
    from inkwash.core.extras import library

    uvicorn = library("uvicorn", "serve")
    for name in ("fastapi", "multipart"):
        library(name, "serve")
    from inkwash.cli.common import console
    from inkwash.core.errors import FileError
    from inkwash.server.app import make_app
    from inkwash.server.guard import bracketed
    from inkwash.server.keeper import Keeper
    from inkwash.server.lock import Lock
    from inkwash.server.settings import ServerConfig, read_key
    from inkwash.server.tether import hand_over

    config = ServerConfig.parse({"models": models or ["scenes-64"], "folder": folder, **settings})
    key = read_key(key_file, os.environ.get(KEY), config)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with Lock(place / "server.lock", wait=False):
        listener = _listen(config.host, config.port)
        port = listener.getsockname()[1]
        hand_over(config)
        keeper, trainer = Keeper(config), Keeper(config, "trainer")
        app = make_app(config, key, keeper.state)
        app.state.serving.queue.describe({})  # nothing is served until it has been loaded
        settings = {"log_level": "warning", "access_log": False, "server_header": False, "timeout_graceful_shutdown": 3}
        server, trouble = uvicorn.Server(uvicorn.Config(app, **settings)), []

        def begin() -> None:
            try:
                keeper.wait()
            except FileError as error:
                trouble.append(error)
                server.should_exit = True
                return
            if keeper.stopped.is_set():  # before they were loaded
                return
            if config.training:
                trainer.start()
            console.print(f"serving at http://{bracketed(config.host)}:{port} (Ctrl-C ends)", soft_wrap=True)
            who = "a key is needed" if key else "no key is needed, as only this machine gets in"
            console.print(f"pictures and the queue lie in {place}; {who}", soft_wrap=True)

        console.print(f"loading {', '.join(config.models)}")
        keeper.start()
        try:
            threading.Thread(target=begin, daemon=True).start()
            server.run(sockets=[listener])  # who asks meanwhile is told that models are being loaded
        finally:
            keeper.stop()
            trainer.stop()
        if trouble:
            raise trouble[0]


def _listen(host: str, port: int) -> socket.socket:
    """A socket of the address, bound before anything is loaded. Raises FileError where it is taken."""
    from inkwash.core.errors import FileError

    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # who comes early waits
    except OSError as error:
        listener.close()
        raise FileError(f"Cannot listen on {host}:{port}: {error.strerror or error}. Name another with --port.") from None
    return listener
