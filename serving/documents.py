"""What the API says of itself: OpenAPI's words for bodies that routes read themselves, and `/docs`, without scripts."""

from __future__ import annotations

from html import escape
from typing import Any

from harmonyrt.serving.requests import FIELDS, FORMATS, OUTPUTS, PICTURES

_FLAGS, _WHOLE = ("premultiplied", "fit_mask", "invert_mask"), ("quality", "seed", "sample", "steps")
_PROBLEMS = {
    400: "The form is malformed, or a field has a value that it cannot have.",
    401: "No API key, or an unknown one.",
    404: "No such model.",
    408: "The body came too slowly.",
    413: "The body or a picture is larger than allowed.",
    415: "Not a form, or a file that is no picture.",
    422: "The pictures cannot be used: damaged, or they do not go together.",
    429: "Busy. Retry-After says when to try again.",
    500: "The engine failed.",
    503: "The server stops, or memory ran out.",
    504: "The request took longer than the server's --timeout.",
}


def _schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string", "description": FIELDS[name]}
    if name in PICTURES:
        found["format"] = "binary"
    elif name in _FLAGS:
        found |= {"type": "boolean", "default": False}
    elif name in _WHOLE:
        found |= {"type": "integer", "minimum": 1 if name in ("quality", "steps") else 0}
    elif name == "strength":
        found |= {"type": "number", "minimum": 0, "maximum": 1.5, "default": 1}
    elif name == "scale":
        found |= {"type": "number", "exclusiveMinimum": 0, "default": 1}
    elif name == "format":
        found["enum"] = list(FORMATS)
    elif name == "output":
        found |= {"enum": list(OUTPUTS), "default": OUTPUTS[0]}
    elif name == "keep":
        found["enum"] = ["luminance", "hue"]
    return found


_PROBLEM_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One sentence: what happened, what was found, what to do."},
    },
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": about, "content": {"application/problem+json": {"schema": _PROBLEM_SCHEMA}}}
    for status, about in _PROBLEMS.items()
}
"""The refusals of every route that takes pictures."""

_PICTURE = {"schema": {"type": "string", "format": "binary"}}
HARMONIZE: dict[str, Any] = {
    "response_class": None,
    "responses": {
        200: {
            "description": "The harmonized picture. With Accept: text/event-stream, progress and then the picture.",
            "headers": {
                name: {"description": about, "schema": {"type": "string"}}
                for name, about in (
                    ("HarmonyRT-Note", "A sentence, percent-encoded; one header for each."),
                    ("HarmonyRT-Warning", "A sentence about what is probably a mistake, percent-encoded."),
                    ("Server-Timing", "Milliseconds by stage."),
                )
            },
            "content": {
                **dict.fromkeys(("image/png", "image/jpeg", "image/tiff", "image/webp", "image/bmp"), _PICTURE),
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
        **PROBLEMS,
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {name: _schema(name) for name in FIELDS}}
                }
            },
        }
    },
}
HARMONIZE.pop("response_class")
"""Options of the route `/v1/harmonize`."""


def page(schema: dict[str, Any]) -> str:
    """OpenAPI as a page that needs no script and no other host."""
    info = schema["info"]
    parts = []
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            parts.append(_operation(path, method.upper(), about))
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/docs.css"></head><body><main>'
        f'<h1>{title}</h1><p>{escape(info.get("description", ""))}</p><p>As a file: <a href="/openapi.json">'
        f"/openapi.json</a> (OpenAPI {escape(schema['openapi'])}).</p>{''.join(parts)}</main></body></html>"
    )


def _operation(path: str, method: str, about: dict[str, Any]) -> str:
    found = f"<section><h2><code>{method} {escape(path)}</code></h2><p>{escape(about.get('summary', ''))}</p>"
    if about.get("description"):
        found += f"<p>{escape(about['description'])}</p>"
    for kind, content in about.get("requestBody", {}).get("content", {}).items():
        fields = content.get("schema", {}).get("properties", {})
        found += f"<h3>Body: <code>{escape(kind)}</code></h3>"
        found += _table((name, _kind(field), field.get("description", "")) for name, field in fields.items())
    answers = about.get("responses", {})
    found += "<h3>Answers</h3>"
    found += _table(
        (code, ", ".join(answer.get("content", {})), answer["description"]) for code, answer in answers.items()
    )
    return found + "</section>"


def _kind(field: dict[str, Any]) -> str:
    if field.get("format") == "binary":
        return "file"
    return " | ".join(field["enum"]) if "enum" in field else str(field.get("type", ""))


def _table(rows: Any) -> str:
    cells = "".join(
        f"<tr><th scope=row><code>{escape(str(a))}</code></th><td>{escape(b)}</td><td>{escape(c)}</td></tr>"
        for a, b, c in rows
    )
    return f"<table>{cells}</table>" if cells else ""


STYLE = """:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 } main { max-width: 60rem; margin: 0 auto; padding: 1rem }
h2 { margin-top: 2rem; font-size: 1.2rem } h3 { font-size: 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #8886 }
"""
"""The stylesheet of `/docs`."""
