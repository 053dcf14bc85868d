"""`harmonyrt serve`: bundles behind HTTP, and a page."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from harmonyrt.cli.options import Backend, Device, MaxMegapixels, Precision, Provider, named


class LogFormat(str, Enum):
    """How log lines look."""

    text = "text"
    json = "json"


def serve(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(help="Bundles that build wrote; the first is the default. Default: the best one in ./engines."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Requests that an engine works on at once. Default: 2, with all threads.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of an engine. Default: all cores.")] = None,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait for their turn.")] = 64,
    max_wait: Annotated[
        float | None,
        typer.Option(
            min=0, help="Refuse who would wait longer, in seconds. Default: about twice what a request takes by itself."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for a request, from first byte to answer.")] = 30.0,
    max_upload_mb: Annotated[float, typer.Option(min=0.001, help="Largest body, in megabytes.")] = 64.0,
    max_megapixels: MaxMegapixels = 60.0,
    megapixels_in_flight: Annotated[
        float | None, typer.Option(min=0.000001, help="Megapixels decoded at once. Default: 4 x --max-megapixels.")
    ] = None,
    api_keys: Annotated[
        Path | None, typer.Option(help="File of API keys, one a line. Default: everybody may ask.")
    ] = None,
    log: Annotated[LogFormat, typer.Option(help="Log lines on stderr.")] = LogFormat.text,
    backend: Backend = "auto",
    device: Device = None,
    target: Annotated[
        str | None, typer.Option(help="Which of a bundle's engines: onnx, openvino, tensorrt, tensorrt-rtx.")
    ] = None,
    precision: Precision = None,
    provider: Provider = None,
) -> None:
    """Serve bundles over HTTP, with a page for people at /.

    harmonyrt serve engines/phnet-128-fp32

    curl -F composite=@composite.jpg -F mask=@mask.png http://127.0.0.1:8000/v1/harmonize -o harmonized.jpg
    """
    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.common.progress import say
    from harmonyrt.serving.server import serve as run
    from harmonyrt.serving.settings import Settings

    if not bundles:
        best, lines = chosen_bundle(None)
        bundles = [best]
        for line in lines:
            say(line.replace("--bundle", "its name after serve"))
    settings = Settings(
        bundles=tuple(bundles),
        host=host,
        port=port,
        sessions=sessions,
        threads=threads,
        queue=queue,
        max_wait=max_wait,
        timeout=timeout,
        max_upload_mb=max_upload_mb,
        max_megapixels=max_megapixels,
        megapixels_in_flight=megapixels_in_flight,
        api_keys=api_keys,
        log=log.value,
        backend=backend,
        device=device,
        target=target,
        precision=precision,
        provider=named(provider),
    )
    if settings.is_public and api_keys is None:
        say(
            f"warning: {host} can be reached by other machines, and everybody may ask: give --api-keys, or listen on"
            " 127.0.0.1"
        )
    run(settings, lambda line: print(line, flush=True))
