"""What the page asks for and gets: a route each, by ids alone."""

from __future__ import annotations

import json
import mimetypes
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import Field
from starlette.exceptions import HTTPException

from keras_transfer.errors import REFUSALS, DataError, KerasTransferError, UsageError
from keras_transfer.files import MOST_TEXT_BYTES, read_bytes
from keras_transfer.specs import Value
from keras_transfer.studio import feeding, results
from keras_transfer.studio.collection import LONGEST_NAME
from keras_transfer.studio.commands import Asked, Id
from keras_transfer.studio.given import Given
from keras_transfer.studio.ids import PATTERN, id_of
from keras_transfer.studio.state import Found, MissingError, Studio, shown
from keras_transfer.studio.thumbnails import LARGE, SIDE

MOST_CHOSEN = 100_000
"""Pictures that are decided about at a time."""
MOST_LISTED = 500
"""Pictures of one page of the grid."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""The report brings its own styles and pictures, and runs nothing."""

InAddress = Annotated[str, InPath(pattern=PATTERN)]
View = Literal["all", "unlabelled", "left-out", "changed"]
routes = APIRouter(prefix="/api")


class Chosen(Value):
    """Pictures that are decided about."""

    ids: tuple[Id, ...] = Field(min_length=1, max_length=MOST_CHOSEN)


class Labelled(Chosen):
    """Pictures and the class that they are of; None: it is not known."""

    label: Id | None


class LeftOut(Chosen):
    """Pictures that are left out, or taken in again."""

    out: bool


class NewClass(Value):
    """A class by its name."""

    name: str = Field(max_length=LONGEST_NAME * 4)


class Start(Value):
    """A verb to start."""

    asked: Asked


class Plain(JSONResponse):
    """JSON in ASCII: names of files need not be text, and are told all the same."""

    def render(self, content: Any) -> bytes:
        """Return the content as it is sent."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def studio_of(request: Request) -> Studio:
    """Return what the routes of an app ask."""
    return request.app.state.studio


@routes.get("/state")
def state(request: Request) -> Any:
    """Everything that changes by itself, and the runs."""
    studio = studio_of(request)
    given = studio.given
    fixed = {
        "task": given.task,
        "merit_name": given.merit_name,
        "backbones": given.backbones,
        "recipes": given.recipes,
        "settled": given.settled,
        "formats": [asdict(each) for each in given.formats],
        "targets": [asdict(each) for each in given.targets],
    }
    return {**studio.told(), "runs": studio.runs(), "fixed": fixed}


@routes.get("/events")
async def events(request: Request) -> Response:
    """The same as it changes, as server-sent events."""
    return StreamingResponse(feeding.stream(studio_of(request).told, request), media_type="text/event-stream")


@routes.get("/pictures")
def pictures(
    request: Request,
    view: View = "all",
    label: Annotated[str | None, Query(pattern=PATTERN)] = None,
    finding: Annotated[str | None, Query(max_length=60)] = None,
    offset: Annotated[int, Query(ge=0, le=10**7)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
) -> Any:
    """A part of the grid."""
    studio = studio_of(request)
    collection = studio.pictures
    if finding is not None:
        rows = studio.found(finding)
    else:
        name = collection.class_named(label) if label else None
        rows = [Found(each) for each in shown(collection.pictures(), view, name)]
    part = [_listed(each) for each in rows[offset : offset + limit]]
    return {"total": len(rows), "offset": offset, "version": collection.version, "pictures": part}


@routes.get("/pictures/ids")
def picture_ids(
    request: Request, view: View = "all", label: Annotated[str | None, Query(pattern=PATTERN)] = None
) -> Any:
    """The ids of a whole view, to decide about all of it at once."""
    collection = studio_of(request).pictures
    name = collection.class_named(label) if label else None
    return {"ids": [each.id for each in shown(collection.pictures(), view, name)][:MOST_CHOSEN]}


@routes.get("/pictures/{id}/{size}")
def thumbnail(request: Request, id: InAddress, size: Literal["small", "large"]) -> Response:
    """A picture, decoded as training decodes it."""
    studio = studio_of(request)
    made = studio.thumbnails.of(str(studio.path_of(id)), SIDE if size == "small" else LARGE)
    return Response(made, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})


@routes.post("/label")
def label(request: Request, asked: Labelled) -> Any:
    """Say of which class pictures are."""
    collection = studio_of(request).pictures
    collection.relabel(asked.ids, collection.class_named(asked.label) if asked.label else None)
    return {"changed": collection.changed}


@routes.post("/leave-out")
def leave_out(request: Request, asked: LeftOut) -> Any:
    """Leave pictures out, or take them in again."""
    collection = studio_of(request).pictures
    collection.leave_out(asked.ids, asked.out)
    return {"changed": collection.changed}


@routes.post("/undo")
def undo(request: Request) -> Any:
    """Take the last decision back."""
    collection = studio_of(request).pictures
    collection.undo()
    return {"changed": collection.changed}


@routes.post("/look-again")
def look_again(request: Request) -> Any:
    """List the source anew."""
    studio_of(request).pictures.look_again()
    return {}


@routes.post("/classes")
def add_class(request: Request, asked: NewClass) -> Any:
    """Make a class."""
    return {"id": studio_of(request).pictures.add_class(asked.name)}


@routes.post("/collect/{label}")
def collect(request: Request, label: InAddress, encoded: Annotated[bytes, feeding.PICTURE]) -> Any:
    """Take a picture in under a class."""
    collection = studio_of(request).pictures
    return _listed(Found(collection.collect(collection.class_named(label), encoded)))


@routes.post("/tries")
def tries(request: Request, encoded: Annotated[bytes, feeding.PICTURE]) -> Any:
    """Keep a picture to try a model with."""
    return {"id": studio_of(request).try_out(encoded)}


@routes.post("/jobs")
def start(request: Request, asked: Start) -> Any:
    """Start a verb."""
    studio = studio_of(request)
    return studio.job(studio.start(asked.asked))


@routes.get("/jobs/{id}")
def job(request: Request, id: InAddress) -> Any:
    """What became of a verb, and what it said."""
    studio = studio_of(request)
    found = studio.jobs.get(id)
    said: Any = studio.answers(found) if found.record.verb == "predict" else found.said()
    return {**studio.job(found), "log": found.log()[-200:], "said": said}


@routes.post("/jobs/{id}/stop")
def stop(request: Request, id: InAddress) -> Any:
    """Ask a verb to end."""
    studio = studio_of(request)
    return studio.job(studio.jobs.stop(id))


@routes.post("/jobs/{id}/again")
def again(request: Request, id: InAddress) -> Any:
    """Give the same command once more."""
    studio = studio_of(request)
    return studio.job(studio.jobs.again(id))


@routes.get("/jobs/{id}/drawn/{number}")
def drawn(request: Request, id: InAddress, number: Annotated[int, InPath(ge=0, le=1000)]) -> Response:
    """Where a run looked in a picture."""
    studio = studio_of(request)
    return Response(_file(studio.drawn(studio.jobs.get(id), number)), media_type="image/png")


@routes.get("/findings")
def findings(request: Request) -> Any:
    """What the doctor found."""
    return studio_of(request).findings()


@routes.get("/runs")
def runs(request: Request) -> Any:
    """The runs to choose from."""
    return studio_of(request).runs()


@routes.get("/runs/{id}")
def run(request: Request, id: InAddress) -> Any:
    """What a run reached, its files and their proofs."""
    studio = studio_of(request)
    return results.described(studio.run(id), studio.given.spread)


@routes.get("/runs/{id}/stages")
def stages(request: Request, id: InAddress) -> Any:
    """How the training of a run goes, or went."""
    studio = studio_of(request)
    return studio.stages(studio.run(id))


@routes.get("/runs/{id}/mistakes")
def mistakes(request: Request, id: InAddress, split: Literal["validation", "test"] = "validation") -> Any:
    """The pictures that a run is wrong about."""
    return studio_of(request).mistakes(id, split)


@routes.get("/runs/{id}/report")
def report(request: Request, id: InAddress) -> Response:
    """The report of a run, as it was written."""
    page = _file(studio_of(request).run(id) / results.REPORT)
    return Response(page, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})


@routes.get("/runs/{id}/bundles/{bundle}")
def bundle(request: Request, id: InAddress, bundle: InAddress) -> Response:
    """A bundle, to keep."""
    for path in results.packed(studio_of(request).run(id)):
        if id_of("bundle", str(path)) == bundle:
            return FileResponse(path, media_type="application/zip", filename=path.name)
    raise MissingError("That bundle is no longer there. Reload the page.")


def _listed(found: Found) -> dict[str, Any]:
    picture = found.picture
    said: dict[str, Any] = {
        "id": picture.id,
        "name": Path(picture.path).name,
        "key": picture.key,
        "label": picture.label,
    }
    said |= {"out": picture.left_out, "added": picture.collected}
    if picture.label != picture.given:
        said["given"] = picture.given or "no class"
    if found.told:
        said["told"] = found.told
    if found.suggested and found.suggested != picture.label:
        said["suggested"] = {"id": id_of("class", found.suggested), "name": found.suggested}
    return said


def _file(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_TEXT_BYTES)
    except OSError:
        raise MissingError("That is no longer there. Reload the page.") from None


def make_app(given: Given) -> FastAPI:
    """Return the page and its routes, without the guard that stands before them."""
    app = FastAPI(
        title="keras-transfer studio", docs_url=None, redoc_url=None, openapi_url=None, default_response_class=Plain
    )
    app.state.studio = Studio(given)
    app.include_router(routes)
    for name, content in _page().items():
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        app.get("/" if name == "index.html" else f"/{name}")(_answer(content, kind))
    app.add_exception_handler(KerasTransferError, _told)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(HTTPException, _no_such_place)
    app.add_exception_handler(OSError, _refused)
    return app


def _page() -> dict[str, bytes]:
    folder = resources.files("keras_transfer.studio") / "page"
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.startswith((".", "_"))}


def _answer(content: bytes, kind: str) -> Any:
    def answer() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    return answer


def _told(request: Request, error: Exception) -> Response:
    """A deliberate error as the page shows it."""
    kinds = ((MissingError, 404), (UsageError, 400), (DataError, 422))
    status = next((code for kind, code in kinds if isinstance(error, kind)), 409)
    return Plain({"error": str(error)}, status)


def _refused(request: Request, error: Exception) -> Response:
    """What the system does not let be written or read, without the path that it was at."""
    assert isinstance(error, OSError)
    what_to_do = REFUSALS.get(error.errno or 0, "What was decided before is saved.")
    said = error.strerror or "an input or output error"
    return Plain({"error": f"The system refuses that: {said}. {what_to_do}"}, 500)


def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and part.isascii())
    return Plain({"error": f"{where}: {json.dumps(str(first['msg']))[1:-1][:200]}"}, 422)


def _no_such_place(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "Nothing is here that answers so." if error.status_code in (404, 405) else f"{error.detail}"
    return Plain({"error": said}, error.status_code)
