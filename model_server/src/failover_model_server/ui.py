"""The page at /serve: a form made from the task's request model. It asks the same queue as every other client."""

import base64
import os
import tempfile
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from failover_model_server.errors import LoadError, RequestError, in_words
from failover_model_server.serving.service import Service

PATH = "/serve"
IMAGE = "image"
"""A request field of this name takes an image in base64."""
PAINTS = "text-to-image"
"""The task whose response is an image in base64."""


def mount(app: FastAPI, service: Service) -> FastAPI:
    """The app with the page.

    Raises:
        LoadError: the page's library is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when the library is imported
    try:
        import gradio
    except ImportError as error:
        raise LoadError(f"ui: {error}; install the extra, failover-model-server[ui]") from error
    mounted: FastAPI = gradio.mount_gradio_app(app, _page(gradio, service), path=PATH, show_error=True, footer_links=[])
    return mounted


def _page(gradio: Any, service: Service) -> Any:
    """One input for each field, those with a default folded away; the answer as image or text, and all of it as JSON."""
    task, settings = service.task, service.settings
    fields: dict[str, FieldInfo] = task.request.model_fields
    needed = [name for name, field in fields.items() if field.is_required()]
    optional = [name for name in fields if name not in needed]
    with gradio.Blocks(title=f"{settings.app}: {task.name}", analytics_enabled=False) as page:
        gradio.Markdown(f"# {settings.app}\n{task.name} on {settings.backend}")
        inputs = [_input(gradio, name, fields[name]) for name in needed]
        if optional:
            with gradio.Accordion("More", open=False):
                inputs += [_input(gradio, name, fields[name]) for name in optional]
        button = gradio.Button("Run", variant="primary")
        result = gradio.Image(label="Result", format="png") if task.name == PAINTS else gradio.Textbox(label="Result", lines=3)
        details = gradio.JSON(label="Answer")

        async def run(*values: object) -> tuple[object, object]:
            given = {name: value for name, value in zip([*needed, *optional], values, strict=True) if value is not None}
            try:
                answer = await service.infer(_request(task.request, given))
            except RequestError as error:
                raise gradio.Error(str(error), print_exception=False) from error
            except ValidationError as error:
                raise gradio.Error(in_words(error.errors()), print_exception=False) from error
            return _shown(answer, paints=task.name == PAINTS)

        button.click(run, inputs, [result, details], api_visibility="private")
    page.queue(max_size=settings.max_queue, default_concurrency_limit=None)  # the server's own queue is the limit
    return page


def _input(gradio: Any, name: str, field: FieldInfo) -> Any:
    default = None if field.is_required() else field.get_default()
    info = field.description
    if name == IMAGE:
        return gradio.Image(label=name, type="filepath", sources=["upload", "clipboard"])
    if field.annotation is bool:
        return gradio.Checkbox(label=name, value=bool(default), info=info)
    if field.annotation is str:
        return gradio.Textbox(label=name, value=default, info=info, placeholder=next(iter(field.examples or []), None))
    precision = None if field.annotation is float else 0
    return gradio.Number(label=name, value=default, info=info, precision=precision)


def _request(model: type[BaseModel], given: dict[str, object]) -> BaseModel:
    """The request from what the form holds; an image comes as the path of an upload."""
    image = given.get(IMAGE)
    if isinstance(image, str):
        given = {**given, IMAGE: base64.b64encode(Path(image).read_bytes()).decode()}
    return model.model_validate(given)


def _shown(answer: BaseModel, *, paints: bool) -> tuple[object, object]:
    body = answer.model_dump(mode="json")
    if not paints:
        return str(body["response"]), body
    with tempfile.NamedTemporaryFile(suffix=".png", delete=False) as file:
        file.write(base64.b64decode(body["response"]))
    return file.name, {**body, "response": "(the image)"}
