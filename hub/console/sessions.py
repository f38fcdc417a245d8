"""Who looks at the console: a signed cookie, and the tokens that forms carry.

The cookie is signed, not secret: it holds a name, a nonce and an end. With an admin token the key
is derived from it, so another token ends every session; without one a key lives as long as the
process. Cookies of one host are shared by all its ports: each port's cookie has its own name.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response

SESSION_MS = 12 * 3_600_000
NOTE_MS = 60_000
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody at a browser. `until` in ms; a session is good before that."""

    who: str
    nonce: str
    until: int


class Sessions:
    """Begins, recognizes and ends sessions. `token` "" is none: everybody who may ask is known."""

    def __init__(self, token: str, *, secure: bool) -> None:
        """`secure`: the console is opened over https only."""
        self.token = token
        self._secure = secure
        self._key = hmac.digest(token.encode(), b"session", "sha256") if token else os.urandom(32)

    # -- signing -------------------------------------------------------------------------------

    def _digest(self, purpose: str, body: str) -> str:
        found = hmac.digest(self._key, f"{purpose}|{body}".encode(), "sha256")
        return urlsafe_b64encode(found).decode()

    def sign(self, purpose: str, value: object) -> str:
        """A JSON value that only we can have written."""
        body = urlsafe_b64encode(orjson.dumps(value)).decode()
        return f"{body}.{self._digest(purpose, body)}"

    def signed(self, purpose: str, text: str) -> object:
        """The value of a signed text, None where it is not ours."""
        body, _, digest = text.partition(".")
        if not same(digest, self._digest(purpose, body)):
            return None
        found: object = orjson.loads(urlsafe_b64decode(body))
        return found

    # -- sessions ------------------------------------------------------------------------------

    def begin(self, who: str, now: int) -> Session:
        """A new session; of a name only what can be seen is kept."""
        name = " ".join("".join(c if c.isprintable() else " " for c in who).split())
        return Session(name[:LONGEST_NAME] or "steward", os.urandom(16).hex(), now + SESSION_MS)

    def of(self, request: Request, now: int) -> Session | None:
        """The session of a request, None where there is none that is good."""
        found = self.signed("session", request.cookies.get(cookie_name(request, "session"), ""))
        if isinstance(found, list) and now < found[2]:
            return Session(*found)
        return None

    def keep(self, request: Request, response: Response, session: Session) -> None:
        """Give the browser its session."""
        text = self.sign("session", [session.who, session.nonce, session.until])
        self._set(request, response, "session", text, SESSION_MS // 1000)

    def end(self, request: Request, response: Response) -> None:
        """Take it away."""
        self._set(request, response, "session", "", 0)

    def knows(self, token: str) -> bool:
        """Whether this is the admin token, in a time that does not tell how much of it is."""
        return bool(self.token) and same(token.strip(), self.token)

    # -- forms ---------------------------------------------------------------------------------

    def form_token(self, session: Session) -> str:
        """What a form of this session carries."""
        return self._digest("form", session.nonce)

    def may_post(self, session: Session, given: str) -> bool:
        """Whether a form came from a page of this session."""
        return same(given, self.form_token(session))

    # -- a word on the next page ---------------------------------------------------------------

    def leave_note(self, request: Request, response: Response, text: str, now: int) -> None:
        """Say this on the page that is shown next."""
        signed = self.sign("note", [text, now + NOTE_MS])
        self._set(request, response, "note", signed, NOTE_MS // 1000)

    def note(self, request: Request, now: int) -> str:
        """What was left to be said."""
        found = self.signed("note", request.cookies.get(cookie_name(request, "note"), ""))
        return str(found[0]) if isinstance(found, list) and now < found[1] else ""

    def drop_note(self, request: Request, response: Response) -> None:
        """It was said."""
        self._set(request, response, "note", "", 0)

    def _set(self, request: Request, response: Response, name: str, text: str, age: int) -> None:
        response.set_cookie(
            cookie_name(request, name), text, age, path="/", httponly=True, samesite="strict",
            secure=self._secure)  # fmt: skip


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def cookie_name(request: Request, name: str) -> str:
    """A name of its own for each port: browsers keep a host's cookies together."""
    try:
        port = urlsplit(f"//{request.headers.get('host', '')}").port
    except ValueError:
        port = None
    return f"synchub-{name}-{port}" if port else f"synchub-{name}"
