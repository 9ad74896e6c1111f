"""Who hears of changes to items, and what."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth import current_user

# {%- endif +%}
from app.items.models import Item
from app.websockets import Action, announce, room

Event = Literal["created", "changed", "deleted"]


class ItemChange(BaseModel):
    event: Event
    id: UUID


# {% if not auth %}
@room("items")
async def changes(action: Action) -> bool:
    """Everybody may listen; only the service itself speaks."""
    return action is Action.SUBSCRIBE


# {% endif %}
# {% if auth %}
@room("items:{owner_id}")
async def own_changes(action: Action, owner_id: UUID) -> bool:
    """Whoever may read the items may listen; only the service itself speaks."""
    user = current_user()
    reads = user.may("items:read" if user.id == owner_id else "items:read-all")
    return reads and action is Action.SUBSCRIBE


# {% endif %}
def tell(event: Event, item: Item) -> None:
    """Tell it once it is stored."""
    # {% if not auth %}
    announce(changes, ItemChange(event=event, id=item.id))
    # {% endif %}
    # {% if auth %}
    announce(own_changes, ItemChange(event=event, id=item.id), item.owner_id)
    # {% endif %}
