"""Access tokens: what they say, and what is none."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from hmac import digest
from http import HTTPStatus
from secrets import token_urlsafe
from time import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from app.auth.tokens import Tokens
from app.main import create_app
from tests.fixtures.auth import MakeUser, SignIn, log_in
from tests.fixtures.http import Upstream, connect
from tests.fixtures.logs import Logged

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def encode(text: str | bytes) -> str:
    return urlsafe_b64encode(text if isinstance(text, bytes) else text.encode()).rstrip(b"=").decode()


def padded(text: str) -> str:
    """Encode it in the length that takes `==`."""
    return urlsafe_b64encode((text + " " * (4 - len(text) % 3)).encode()).decode()


def decode(part: str) -> dict[str, Any]:  # JSON
    content: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=="))
    return content


def compact(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


class Forger:
    """Takes a good token apart, and puts others together, which the service's own key signs."""

    def __init__(self, tokens: Tokens, good: str) -> None:
        self.tokens = tokens
        self.good = good
        self.head, self.body, self.signature = good.split(".")
        self.header, self.claims = decode(self.head), decode(self.body)

    def sign(self, head: str, body: str, *, key: bytes | None = None, hash: str = "sha256") -> str:
        signature = digest(key or self.tokens.access_key, f"{head}.{body}".encode(), hash)
        return f"{head}.{body}.{encode(signature)}"

    def with_header(self, *, hash: str = "sha256", **changes: object) -> str:
        return self.sign(encode(compact({**self.header, **changes})), self.body, hash=hash)

    def with_claims(self, **changes: object) -> str:
        return self.with_payload(compact({**self.claims, **changes}))

    def with_payload(self, payload: str | bytes) -> str:
        return self.sign(self.head, encode(payload))

    def without(self, name: str) -> str:
        """Leave out what a header or the claims have by this name."""
        header, claims = ({key: own[key] for key in own if key != name} for own in (self.header, self.claims))
        return self.sign(encode(compact(header)), encode(compact(claims)))


@pytest.fixture
async def good(client: AsyncClient, sign_in: SignIn) -> str:
    await sign_in(client)
    return str(client.headers.pop("Authorization")).removeprefix("Bearer ")


@pytest.fixture
def forger(app: FastAPI, good: str) -> Forger:
    return Forger(app.state.auth.tokens, good)


async def show(client: AsyncClient, token: str) -> Response:
    return await client.get("/v1/users/me", headers={b"Authorization": f"Bearer {token}".encode()})


def assert_refused(response: Response) -> None:
    assert response.status_code == HTTPStatus.UNAUTHORIZED, response.text
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/token_invalid"


async def test_an_access_token_says_what_it_has_to(client: AsyncClient, make_user: MakeUser) -> None:
    user = await make_user()

    tokens = await log_in(client)

    header, claims = map(decode, tokens["access_token"].split(".")[:2])
    assert header == {"alg": "HS256", "kid": header["kid"], "typ": "at+jwt"}
    assert len(header["kid"]) == 16
    assert claims.keys() == {"iss", "aud", "sub", "iat", "exp", "jti", "sid"}
    assert claims["exp"] - claims["iat"] == tokens["expires_in"] <= 15 * 60
    assert claims["sub"] == str(user.id)
    assert UUID(claims["sid"])


def test_no_two_tokens_have_the_same_identifier(app: FastAPI) -> None:
    token = uuid4(), uuid4()

    first, second = app.state.auth.tokens.write(*token), app.state.auth.tokens.write(*token)

    assert decode(first.split(".")[1])["jti"] != decode(second.split(".")[1])["jti"]


async def test_what_is_put_together_as_the_service_does_is_good(client: AsyncClient, forger: Forger) -> None:
    same, other = forger.with_header(), forger.with_claims(jti="1")

    assert same == forger.good
    assert (await show(client, other)).status_code == HTTPStatus.OK


FORGED: dict[str, Callable[[Forger], str]] = {
    # what is not there
    "no typ": lambda forger: forger.without("typ"),
    "no kid": lambda forger: forger.without("kid"),
    "no alg": lambda forger: forger.without("alg"),
    "no iss": lambda forger: forger.without("iss"),
    "no aud": lambda forger: forger.without("aud"),
    "no sub": lambda forger: forger.without("sub"),
    "no iat": lambda forger: forger.without("iat"),
    "no exp": lambda forger: forger.without("exp"),
    "no jti": lambda forger: forger.without("jti"),
    "no sid": lambda forger: forger.without("sid"),
    # headers
    "typ of an ID token": lambda forger: forger.with_header(typ="JWT"),
    "unknown kid": lambda forger: forger.with_header(kid="0" * 16),
    "kid that is no text": lambda forger: forger.with_header(kid=1),
    "crit": lambda forger: forger.with_header(crit=["exp"]),
    "crit that PyJWT knows": lambda forger: forger.with_header(crit=["b64"], b64=True),
    "jku": lambda forger: forger.with_header(jku="https://example.org/keys"),
    "x5u": lambda forger: forger.with_header(x5u="https://example.org/key"),
    "key in the header": lambda forger: forger.with_header(jwk={"kty": "oct", "k": encode(forger.tokens.access_key)}),
    "one more header": lambda forger: forger.with_header(cty="JWT"),
    "header twice": lambda forger: forger.sign(
        encode(compact(forger.header).replace("{", '{"alg":"HS256",', 1)), forger.body
    ),
    "header that is a list": lambda forger: forger.sign(encode("[]"), forger.body),
    "header that is no JSON": lambda forger: forger.sign(encode("{"), forger.body),
    # algorithms and keys
    "none": lambda forger: forger.with_header(alg="none").rpartition(".")[0] + ".",
    "none, signed": lambda forger: forger.with_header(alg="none"),
    "NONE": lambda forger: forger.with_header(alg="NONE").rpartition(".")[0] + ".",
    "HS384": lambda forger: forger.with_header(alg="HS384", hash="sha384"),
    "HS512": lambda forger: forger.with_header(alg="HS512", hash="sha512"),
    "RS256 with the secret for a public key": lambda forger: forger.with_header(alg="RS256"),
    "PS256 with the secret for a public key": lambda forger: forger.with_header(alg="PS256"),
    "EdDSA with the secret for a public key": lambda forger: forger.with_header(alg="EdDSA"),
    "another key": lambda forger: forger.sign(forger.head, forger.body, key=b"x" * 32),
    "key of refresh tokens": lambda forger: forger.sign(forger.head, forger.body, key=forger.tokens.refresh_keys[0]),
    "another hash": lambda forger: forger.sign(forger.head, forger.body, hash="sha512"),
    # claims
    "other issuer": lambda forger: forger.with_claims(iss="other"),
    "issuer in a list": lambda forger: forger.with_claims(iss=[forger.tokens.issuer]),
    "other audience": lambda forger: forger.with_claims(aud="other"),
    "other audiences": lambda forger: forger.with_claims(aud=["other", ""]),
    "sub that is no UUID": lambda forger: forger.with_claims(sub="1"),
    "sub that is a number": lambda forger: forger.with_claims(sub=1),
    "sub of nobody": lambda forger: forger.with_claims(sub=str(uuid4())),
    "sid that is no UUID": lambda forger: forger.with_claims(sid="1"),
    "sid that is a list": lambda forger: forger.with_claims(sid=[1]),
    "sid of no session": lambda forger: forger.with_claims(sid=str(uuid4())),
    "exp in words": lambda forger: forger.with_claims(exp="tomorrow"),
    "exp as text": lambda forger: forger.with_claims(exp=str(forger.claims["exp"])),
    "exp null": lambda forger: forger.with_claims(exp=None),
    "exp NaN": lambda forger: forger.with_claims(exp=float("nan")),
    "exp Infinity": lambda forger: forger.with_claims(exp=float("inf")),
    "exp 1e400": lambda forger: forger.with_payload(compact(forger.claims).replace(str(forger.claims["exp"]), "1e400")),
    "exp far away": lambda forger: forger.with_claims(exp=forger.claims["iat"] + 901),
    "exp of 900 digits": lambda forger: forger.with_claims(exp=int("9" * 900)),
    "iat as text": lambda forger: forger.with_claims(iat=str(forger.claims["iat"])),
    "iat long ago": lambda forger: forger.with_claims(iat=0),
    "claim twice": lambda forger: forger.with_payload(compact(forger.claims).replace('"sub":', '"sub":"1","sub":')),
    "claim twice, within another": lambda forger: forger.with_payload(
        compact(forger.claims).replace("{", '{"act":{"sub":"1","sub":"2"},', 1)
    ),
    "claims that are a list": lambda forger: forger.with_payload("[]"),
    "claims that are null": lambda forger: forger.with_payload("null"),
    "claims that are text": lambda forger: forger.with_payload('"sub"'),
    "claims that are no JSON": lambda forger: forger.with_payload("{"),
    "claims that are not UTF-8": lambda forger: forger.with_payload(b'{"sub":"\xff"}'),
    "claims deep inside": lambda forger: forger.with_payload("[" * 1200),
    "no claims": lambda forger: forger.with_payload(""),
    # other spellings
    "padded header": lambda forger: f"{forger.head}=.{forger.body}.{forger.signature}",
    "padded claims": lambda forger: forger.sign(forger.head, padded(compact(forger.claims))),
    "padded signature": lambda forger: f"{forger.good}=",
    "signature padded twice": lambda forger: f"{forger.good}==",
    "other bits after the signature": lambda forger: (
        forger.good[:-1] + ALPHABET[ALPHABET.index(forger.signature[-1]) ^ 1]
    ),
    "junk in the signature": lambda forger: f"{forger.good[:-1]}!{forger.signature[-1]}",
    "space before it": lambda forger: f" {forger.good}",
    "space after it": lambda forger: f"{forger.good} ",
    "tab within": lambda forger: f"{forger.head}.\t{forger.body}.{forger.signature}",
    "line feed after it": lambda forger: f"{forger.good}\n",
    "not ASCII": lambda forger: f"{forger.good[:-1]}é",
    "full-width letter": lambda forger: f"{forger.good[:-1]}\uff21",
    # other shapes
    "cut short": lambda forger: forger.good[:-1],
    "no signature": lambda forger: f"{forger.head}.{forger.body}.",
    "two parts": lambda forger: f"{forger.head}.{forger.body}",
    "one part": lambda forger: forger.head,
    "empty claims": lambda forger: f"{forger.head}..{forger.signature}",
    "empty header": lambda forger: f".{forger.body}.{forger.signature}",
    "nothing but dots": lambda forger: "..",
    "four parts": lambda forger: f"{forger.good}.",
    "five parts, as of a JWE": lambda forger: forger.sign(forger.head, f"{forger.body}.a.a"),
    "longer than any": lambda forger: forger.with_claims(jti="x" * 2000),
    "16 kB": lambda forger: f"{forger.head}.{'x' * 16_384}",
}


async def test_forged_tokens_are_refused(client: AsyncClient, forger: Forger, subtests: pytest.Subtests) -> None:
    for name, forge in FORGED.items():
        with subtests.test(name):
            assert_refused(await show(client, forge(forger)))


async def test_nobody_borrows_the_session_of_another(client: AsyncClient, forger: Forger, make_user: MakeUser) -> None:
    other = await make_user("eve@example.org", "admin")

    response = await show(client, forger.with_claims(sub=str(other.id)))

    assert_refused(response)


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_no_key_is_fetched(client: AsyncClient, forger: Forger, upstream: Upstream, header: str) -> None:
    keys = compact({"keys": [{"kty": "oct", "kid": "1", "k": encode(b"x" * 32)}]})
    url = await upstream.start(keys)

    response = await show(client, forger.with_header(kid="1", **{header: url}))

    assert_refused(response)
    assert upstream.asked == []


async def test_a_refresh_token_is_no_access_token(client: AsyncClient, make_user: MakeUser) -> None:
    await make_user()
    tokens = await log_in(client)

    response = await show(client, tokens["refresh_token"])

    assert_refused(response)


async def test_an_access_token_is_no_refresh_token(client: AsyncClient, good: str) -> None:
    response = await client.post("/v1/auth/refresh", json={"refresh_token": good})

    assert_refused(response)


# Whole seconds, of which a test may take one.
@pytest.mark.parametrize(("claim", "seconds"), [("iat", 32), ("nbf", 32), ("exp", -31)])
async def test_clocks_may_not_differ_by_more(client: AsyncClient, forger: Forger, claim: str, seconds: int) -> None:
    token = forger.with_claims(**{claim: int(time()) + seconds})

    response = await show(client, token)

    assert_refused(response)


@pytest.mark.parametrize(("claim", "seconds"), [("iat", 29), ("nbf", 29), ("exp", -28)])
async def test_clocks_may_differ_by_half_a_minute(
    client: AsyncClient, forger: Forger, claim: str, seconds: int
) -> None:
    token = forger.with_claims(**{claim: int(time()) + seconds})

    response = await show(client, token)

    assert response.status_code == HTTPStatus.OK


@asynccontextmanager
async def restart(app: FastAPI) -> AsyncGenerator[AsyncClient]:
    """Start the service with the settings of now, on the same database."""
    again = create_app()
    again.dependency_overrides = app.dependency_overrides
    async with connect(again) as client:
        yield client


async def test_tokens_of_an_older_secret_are_still_good(
    app: FastAPI, client: AsyncClient, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_user()
    old = await log_in(client)
    monkeypatch.setenv("AUTH_SECRET_KEY", token_urlsafe(32))
    monkeypatch.setenv("AUTH_OLD_SECRET_KEYS", ",".join([token_urlsafe(32), secret_of(app)]))

    async with restart(app) as later:
        shown = await show(later, old["access_token"])
        refreshed = await later.post("/v1/auth/refresh", json={"refresh_token": old["refresh_token"]})
        again = await show(later, refreshed.json()["access_token"])

    assert (shown.status_code, refreshed.status_code, again.status_code) == (HTTPStatus.OK,) * 3
    kids = {decode(token["access_token"].partition(".")[0])["kid"] for token in (old, refreshed.json())}
    assert len(kids) == 2


async def test_a_secret_that_is_gone_takes_its_tokens_along(
    app: FastAPI, client: AsyncClient, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_user()
    old = await log_in(client)
    monkeypatch.setenv("AUTH_SECRET_KEY", token_urlsafe(32))

    async with restart(app) as later:
        shown = await show(later, old["access_token"])
        refreshed = await later.post("/v1/auth/refresh", json={"refresh_token": old["refresh_token"]})

    assert_refused(shown)
    assert_refused(refreshed)


def secret_of(app: FastAPI) -> str:
    return str(app.state.auth.settings.secret_key.get_secret_value())


@pytest.mark.parametrize("place", ["params", "data", "headers"])
async def test_a_token_is_looked_for_in_one_place(client: AsyncClient, good: str, logged: Logged, place: str) -> None:
    token = {"access_token": good} if place != "headers" else {"Cookie": f"access_token={good}"}

    response = await client.request("GET", "/v1/users/me", **{place: token})  # type: ignore[arg-type]  # one of three

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert good not in str(logged())


async def test_two_tokens_are_none(client: AsyncClient, good: str) -> None:
    response = await client.get("/v1/users/me", headers=[("Authorization", f"Bearer {good}")] * 2)

    assert_refused(response)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic {}", "Token {}", "{}", "Bearer\t{}", "Bearer:{}"])
async def test_what_is_no_bearer_is_asked_to_log_in(client: AsyncClient, good: str, value: str) -> None:
    response = await client.get("/v1/users/me", headers={"Authorization": value.format(good)})

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["type"] == "/problems/not_authenticated"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_may_be_written_in_any_case(client: AsyncClient, good: str, scheme: str) -> None:
    response = await client.get("/v1/users/me", headers={"Authorization": f"{scheme} {good}"})

    assert response.status_code == HTTPStatus.OK
