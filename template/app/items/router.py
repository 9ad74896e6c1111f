"""Endpoints of the items."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import requires

# {%- endif +%}
# {%- if cache +%}
from app.cache import keep

# {%- endif +%}
from app.database import (
    Page,
    PageQuery,
    ReadSessionDep,
    # {% if tasks %}
    SessionDep,
    # {% endif %}
)
from app.items.models import Item
from app.items.schemas import Checksum, ItemCreate, ItemRead, ItemUpdate
from app.items.service import ItemService, ItemServiceDep

# {%- if tasks +%}
from app.items.tasks import write_report

# {%- endif +%}
# {%- if rate_limit +%}
from app.rate_limit import limit

# {%- endif +%}
# {%- if tasks +%}
from app.tasks import TaskRead, enqueue

# {%- endif +%}

# {% if not auth %}
router = APIRouter(prefix="/items", tags=["items"])
# {% endif %}
# {% if auth %}
router = APIRouter(prefix="/items", tags=["items"], dependencies=[requires("items")])
# {% endif %}

LOCATION = {"headers": {"Location": {"description": "where it is", "schema": {"type": "string"}}}}


class CSVResponse(StreamingResponse):
    media_type = "text/csv"


@router.post("", status_code=HTTPStatus.CREATED, response_model=ItemRead, responses={HTTPStatus.CREATED: LOCATION})
async def create_item(data: ItemCreate, service: ItemServiceDep, request: Request, response: Response) -> Item:
    item = await service.create(data)
    response.headers["Location"] = request.app.url_path_for("get_item", id=str(item.id))
    return item


@router.get("")
async def list_items(query: PageQuery, service: ItemServiceDep) -> Page[ItemRead]:
    """The newest first; `next_cursor` is the `cursor` of the page that follows."""
    return await service.page(query)


@router.get(
    "/export",
    response_class=CSVResponse,
    # {% if rate_limit %}
    dependencies=[limit("exports", "10/minute")],
    # {% endif %}
)
async def export_items(session: ReadSessionDep) -> CSVResponse:
    """All of them, the oldest first."""
    headers = {"Content-Disposition": 'attachment; filename="items.csv"'}
    return CSVResponse(await ItemService(session).export(), headers=headers)


@router.get("/export/checksum")
async def get_export_checksum(session: ReadSessionDep) -> Checksum:
    """What `export` would be, to compare with what has arrived."""
    return Checksum(sha256=await ItemService(session).checksum())


# {% if tasks %}
@router.post("/reports", status_code=HTTPStatus.ACCEPTED, responses={HTTPStatus.ACCEPTED: LOCATION})
async def order_report(session: SessionDep, request: Request, response: Response) -> TaskRead:
    """Have all of them added up; the result is where `Location` says, once the task has succeeded."""
    task = await enqueue(session, write_report)
    response.headers["Location"] = request.app.url_path_for("get_task", id=str(task.id))
    return TaskRead.model_validate(task, from_attributes=True)


# {% endif %}
@router.get("/{id}")
# {% if cache %}
@keep("private, no-cache")
# {% endif %}
async def get_item(id: UUID, service: ItemServiceDep) -> ItemRead:
    return await service.read(id)


@router.patch("/{id}", response_model=ItemRead)
async def update_item(id: UUID, data: ItemUpdate, service: ItemServiceDep) -> Item:
    return await service.update(id, data)


@router.delete("/{id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_item(id: UUID, service: ItemServiceDep) -> None:
    await service.delete(id)
