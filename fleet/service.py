"""The server of `harmonyrt serve` as a Ray Serve application: many replicas, behind one address.

    serve run harmonyrt.fleet.service:app bundles=engines/phnet-256-fp32
    serve deploy serve.yaml                                                 # examples/fleet/serve.yaml

Routes, limits and answers are those of :mod:`harmonyrt.serving`; where replicas run, how many, and when they are
replaced is Ray Serve's. A changed list of bundles is rolled out replica by replica, and until the last one is replaced
both versions answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.fleet.bundles import bundle_source
from harmonyrt.serving.settings import Settings

BUNDLE_HEADER = "serve_multiplexed_model_id"
"""Names the bundle of a request, where replicas do not hold all of them (Ray Serve's own header)."""


@dataclass(frozen=True)
class Options:
    """What `app` takes, from a config file's ``args`` or as NAME=VALUE.

    Attributes:
        bundles: folders or prefixes of stores; the first one is the default.
        loaded: bundles that a replica holds at once. 0: all of them, chosen by name as with `harmonyrt serve`.
            Otherwise a request names its bundle in :data:`BUNDLE_HEADER`, and Ray Serve sends it to a replica that
            holds it.
        replicas: of these, at least,
        most_replicas: and at most; more are started where each has more requests than `ongoing`.
        ongoing: requests under way in a replica that are just right.
        cpus: cores of a replica, which its engines use.
        gpus: GPUs of a replica.
        settings: any of :class:`harmonyrt.serving.settings.Settings`, for example ``queue``.
    """

    bundles: tuple[str, ...]
    loaded: int
    replicas: int
    most_replicas: int
    ongoing: float
    cpus: int
    gpus: float
    settings: dict[str, Any]

    @classmethod
    def read(cls, given: dict[str, Any]) -> Options:
        """Read arguments as Ray Serve hands them over: values may be texts.

        Raises:
            HarmonyError: an argument that is not known or has no meaning, or no bundle.
        """
        given = dict(given)
        bundles = given.pop("bundles", ())
        named = tuple(bundles.split(",")) if isinstance(bundles, str) else tuple(map(str, bundles))
        if not named or not all(named):
            raise HarmonyError("no bundle was given; name one, for example bundles=engines/phnet-256-fp32")
        kinds = {"loaded": (int, 0), "replicas": (int, 1), "most_replicas": (int, 4), "ongoing": (float, 2.0),
                 "cpus": (int, 1), "gpus": (float, 0.0)}  # fmt: skip
        values = {name: _number(name, kind, given.pop(name, default)) for name, (kind, default) in kinds.items()}
        known = {field.name for field in fields(Settings)} - {"bundles", "host", "port"}
        unknown = sorted(set(given) - known)
        if unknown:
            raise HarmonyError(
                f"{unknown[0]} is no option of the service; there are {', '.join([*kinds, *sorted(known)])}"
            )
        return cls(named, **values, settings={"threads": values["cpus"], **given})


def app(args: dict[str, Any]) -> Any:
    """The application, for ``serve run``, ``serve deploy`` and `ray.serve.run`.

    Raises:
        HarmonyError: arguments that have no meaning, a bundle that does not open, or no Ray Serve.
    """
    serve = require("ray.serve", "fleet", "the service on Ray")
    options = Options.read(args)
    sources = {Path(path).name: bundle_source(path) for path in options.bundles}
    scaling = {
        "min_replicas": options.replicas,
        "max_replicas": max(options.replicas, options.most_replicas),
        "target_ongoing_requests": options.ongoing,
    }

    def opened(names: list[str]) -> Any:
        from harmonyrt.serving.app import create_app
        from harmonyrt.serving.service import Service

        folders = tuple(sources[name].local() for name in names)
        settings = {name: _as_setting(name, value) for name, value in options.settings.items()}
        return create_app(Service.open(Settings(folders, **settings)))

    names = list(sources)
    build = _one_by_one(serve, names, options.loaded, opened) if options.loaded else lambda: opened(names)
    deployment = serve.deployment(
        name="harmonyrt",
        autoscaling_config=scaling,
        max_ongoing_requests=max(4, int(4 * options.ongoing)),
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        health_check_period_s=5,
        graceful_shutdown_timeout_s=60,
    )
    return deployment(serve.ingress(build)()).bind()


def _one_by_one(serve: Any, names: list[str], loaded: int, opened: Callable[[list[str]], Any]) -> Callable[[], Any]:
    """Builds an ASGI application that opens bundles as requests name them, and drops the one used longest ago."""

    def build() -> Any:
        @serve.multiplexed(max_num_models_per_replica=loaded)
        async def of(name: str) -> Any:
            return await asyncio.to_thread(opened, [name])

        async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await _lifespan(receive, send)
                return
            name = serve.get_multiplexed_model_id() or names[0]
            if name not in names:
                sentence = f"there is no bundle {name}; {BUNDLE_HEADER} is one of {', '.join(names)}"
                headers = [(b"content-type", b"text/plain; charset=utf-8")]
                await send({"type": "http.response.start", "status": 404, "headers": headers})
                await send({"type": "http.response.body", "body": sentence.encode()})
                return
            inner = await of(name)
            await inner(scope, receive, send)

        return asgi

    return build


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _number(name: str, kind: Callable[[Any], Any], value: Any) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise HarmonyError(f"{name} is {value!r}; give a number") from None
    if number < 0:
        raise HarmonyError(f"{name} is {value!r}; give 0 or more")
    return number


def _as_setting(name: str, value: Any) -> Any:
    """A setting of its own type: on the command line all are texts."""
    if name == "api_keys":
        return Path(value)
    if not isinstance(value, str) or name in ("log", "backend", "device", "target", "precision"):
        return value
    return _number(name, int if name in ("queue", "sessions", "threads") else float, value)
