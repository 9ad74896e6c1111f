"""A room that cannot be one is a mistake that is seen where it is declared, and not when somebody wants to go there."""

from uuid import UUID, uuid4

import pytest

from app.websockets import Action, room
from app.websockets.rooms import Room, declared
from tests.websockets.rooms import LOBBY, orders


async def plain(action: Action) -> bool:
    return True


async def of_a_shelf(action: Action, building: str, number: int) -> bool:
    return (building, number) == ("north", 7)


@pytest.fixture
def shelves() -> Room[[str, int]]:
    return Room("shelves:{building}:top:{number}", of_a_shelf, presence=False)


@pytest.mark.parametrize(
    "name",
    ["", "Orders", "orders:", ":orders", "orders::new", "or ders", "orders\n", "7", "orders:{}", "orders:{0}", "{id}"],
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="is named like orders or orders:"):
        room(name)(plain)

    assert name not in declared


@pytest.mark.parametrize(
    "name", ["shelves", "shelves:{building}", "shelves:{number}:{building}", "shelves:{building}:{number}:{more}"]
)
def test_its_function_takes_what_the_name_has(name: str) -> None:
    with pytest.raises(TypeError, match="and its function takes the same"):
        room(name)(of_a_shelf)


@pytest.mark.parametrize("name", [LOBBY, "tests-orders:latest"])
def test_two_rooms_cannot_share_an_address(name: str) -> None:
    with pytest.raises(TypeError, match="could be in 'tests-"):
        room(name)(plain)


@pytest.mark.parametrize("address", ["shelves:north:top:7", "shelves:south:top:7"])
async def test_its_function_decides_about_each_value(shelves: Room[[str, int]], address: str) -> None:
    permit = shelves.permit(address)

    assert permit is not None
    assert await permit(Action.SUBSCRIBE) is address.startswith("shelves:north")


@pytest.mark.parametrize(
    "address",
    [
        "shelves:north:7",
        "shelves:north:top:",
        "shelves:a:b:top:7",
        "xshelves:north:top:7",
        "shelves:north:top:7:8",
        "shelves:north:top:07",
    ],
)
def test_other_addresses_are_not_those_of_the_room(shelves: Room[[str, int]], address: str) -> None:
    assert shelves.permit(address) is None


def test_an_address_is_the_name_with_its_values(shelves: Room[[str, int]]) -> None:
    id = UUID("018f5b1e-7c2a-7000-8000-000000000001")

    assert shelves.address("north", 7) == "shelves:north:top:7"
    assert orders.address(id) == f"tests-orders:{id}"


@pytest.mark.parametrize("building", ["", "a:b"])
def test_there_is_no_address_where_nobody_could_subscribe(shelves: Room[[str, int]], building: str) -> None:
    with pytest.raises(ValueError, match="is no shelves:"):
        shelves.address(building, 7)


def test_an_address_takes_what_the_function_takes() -> None:
    with pytest.raises(TypeError):
        orders.address()  # type: ignore[call-arg]  # which is the point
    with pytest.raises(TypeError):
        orders.address(uuid4(), 2)  # type: ignore[call-arg]  # which is the point
