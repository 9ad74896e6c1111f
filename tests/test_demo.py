"""The page to try rooms with, in a real browser: it connects, and its policy lets it do that and nothing else."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import launched, needs_chromium
from tests.combinations import BARE, with_needs
from tests.conftest import Render
from tests.serving import COMMAND, EMAIL, PASSWORD, alembic, create_user, served

pytestmark = needs_chromium

WEBSOCKETS = {**BARE, "websockets": True}
UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"

Visit = Callable[[str], "Visitor"]


class Visitor:
    """Somebody who has opened the page, and whatever the browser complains of meanwhile."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(error.message))
        page.goto(f"{url}/ws-demo")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def sign_in(self, password: str = PASSWORD) -> None:
        self.page.get_by_label("E-mail address").fill(EMAIL)
        self.page.get_by_label("Password").fill(password)

    def enter(self, room: str) -> None:
        self.press("Connect")
        self.sees_state("connected")
        self.page.get_by_label("Room").fill(room)
        self.press("Subscribe")
        self.sees("subscribed")

    def say(self, text: str) -> None:
        self.page.get_by_label("Message").fill(text)
        self.page.get_by_label("Message").press("Enter")

    def sees(self, text: str) -> None:
        """Wait until it has been received."""
        expect(self.page.locator("#frames .received").filter(has_text=text)).not_to_have_count(0)

    def sees_state(self, text: str) -> None:
        expect(self.page.get_by_role("status")).to_have_text(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open the page as somebody with whom the others share nothing."""
    contexts = []

    def visit(url: str) -> Visitor:
        contexts.append(browser.new_context())
        return Visitor(contexts[-1].new_page(), url)

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def open_to_all(render: Render) -> Iterator[str]:
    """The URL of a service that asks nobody who they are."""
    with served(render(WEBSOCKETS), COMMAND, variables={"SERVICE_ENVIRONMENT": "test"}) as (_, port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def signed_in(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service that asks everybody who they are, and knows one."""
    service = render(with_needs(WEBSOCKETS, "auth"))
    database = f"sqlite:///{tmp_path_factory.mktemp('database') / 'test.db'}"
    assert alembic(service, database, "upgrade", "head").returncode == 0
    create_user(service, database)
    variables = {"SERVICE_ENVIRONMENT": "test", "DATABASE_URL": database}
    with served(service, COMMAND, variables=variables) as (_, port, _):
        yield f"http://127.0.0.1:{port}"


def test_what_one_says_in_a_room_the_other_sees(open_to_all: str, visit: Visit) -> None:
    ada, grace = visit(open_to_all), visit(open_to_all)
    ada.enter("demo")
    grace.enter("demo")
    ada.sees("joined")

    ada.say("What's <b>new</b>?")

    grace.sees("What's <b>new</b>?")
    ada.sees("What's <b>new</b>?")
    grace.press("Disconnect")
    grace.sees_state("closed: 1005")
    ada.sees("left")
    assert ada.complaints + grace.complaints == []


def test_whoever_has_left_may_come_back(open_to_all: str, visit: Visit) -> None:
    ada = visit(open_to_all)
    ada.enter("demo")
    ada.press("Unsubscribe")
    ada.sees("unsubscribed")
    ada.press("Disconnect")
    ada.sees_state("closed: 1005")

    ada.enter("demo")
    ada.say("Again")

    ada.sees("Again")
    assert ada.complaints == []


def test_a_room_that_does_not_exist_is_named_as_one(open_to_all: str, visit: Visit) -> None:
    ada = visit(open_to_all)
    ada.press("Connect")
    ada.page.get_by_label("Room").fill("nowhere")
    ada.press("Subscribe")

    ada.sees("There is no such room.")
    assert ada.complaints == []


def test_where_people_log_in_the_page_asks_for_a_password(signed_in: str, visit: Visit) -> None:
    grace, at_home = visit(signed_in), visit(signed_in)
    for visitor in (grace, at_home):
        visitor.sign_in()
        visitor.enter("demo")

    grace.say("It's me")

    grace.sees("It's me")
    at_home.sees("It's me")
    assert grace.complaints + at_home.complaints == []


def test_a_wrong_password_is_told(signed_in: str, visit: Visit) -> None:
    grace = visit(signed_in)
    grace.sign_in("correct horse battery stable")
    grace.press("Connect")
    grace.sees_state("E-mail address or password is wrong.")

    grace.sign_in()
    grace.enter("demo")

    assert grace.complaints == [UNAUTHORIZED]
