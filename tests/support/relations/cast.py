"""The callers of the table as real credentials, and the things that they have relations to."""

from datetime import timedelta
from typing import Any

from api_gateway.auth.api_keys import EDX_KEY_NAME, new_api_key
from api_gateway.auth.jwt_tokens import sign_token
from api_gateway.auth.signing_keys import SigningKey
from enrollment.domain.model import Learner
from enrollment.storage import learners
from enrollment.storage.credentials import api_keys
from schemas.submissions import caller_name
from tests.support import oauth
from tests.support.gateway import (
    AUDIT,
    HONOR,
    SIGNING_KEY,
    Gateway,
    Headers,
    ago,
    fresh,
    utc_now,
)
from tests.support.relations.callers import (
    CLIENTS,
    EDX_KEY,
    ENROLLERS,
    INVALID,
    KEYS,
    KNOWN,
    LEARNER,
    NOBODY,
    ROLES,
    STAFF,
    SUBJECTS,
    TOKENS_WITH_KEYS,
)


class Cast:
    """Credentials and usernames of each kind of caller, and the courses of the relations."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        #: Where the callers themselves are enrolled; where callers have roles; elsewhere.
        self.own, self.taught, self.elsewhere = (gateway.course(AUDIT, HONOR) for _ in range(3))
        #: Enrolled in `taught` and `elsewhere`; in `elsewhere` alone; nowhere.
        self.taught_learner, self.other_learner, self.idle_learner = (
            self._learner(word) for word in ("olga", "otto", "ida")
        )
        self.usernames = {kind: self._learner(fresh("caller")) for kind in sorted(SUBJECTS)}
        self.headers = self._headers()
        self._give_roles()
        self._enroll()
        #: A finished submission of each caller that can have one, and one of somebody else.
        self.submissions = {kind: self._submission(kind) for kind in sorted(SUBJECTS | ENROLLERS)}
        self.stranger = gateway.key("admin", name=fresh("stranger"))
        self.other_submission = self.accepted(self.stranger, self.other_learner)
        gateway.work()

    def name_of(self, kind: str) -> str:
        """Returns the name of a caller, as its submissions have it."""
        if kind in self.usernames:
            return caller_name(f"user:{self.usernames[kind]}")
        return caller_name(f"key:{EDX_KEY_NAME if kind == EDX_KEY else _key_name(kind)}")

    def email_of(self, username: str) -> str:
        """Returns the e-mail address of a learner of the cast."""
        return f"{username}@example.org"

    def accepted(self, who: Headers, user: str, course_id: str = "", **body: Any) -> str:
        """Stores a request, which no worker processes yet; returns the id of its submission."""
        asked = {"user": user, "course_details": {"course_id": course_id or self.elsewhere}, **body}
        answer = self.gateway.post("enrollment", who, json=asked)
        assert answer.status_code == 202, answer.text
        return str(answer.json["submission_id"])

    def _learner(self, word: str) -> str:
        username = fresh(word)
        with self.gateway.sessions.begin() as session:
            learners.save(session, Learner(username, self.email_of(username)))
        return username

    def _submission(self, kind: str) -> str:
        """Stores a request about the caller, or of a server about somebody; returns the id."""
        user = self.usernames.get(kind, self.other_learner)
        course_id = self.own if kind in SUBJECTS else self.elsewhere
        return self.accepted(self.headers[kind], user, course_id)

    def _give_roles(self) -> None:
        for kind, role in ROLES.items():
            path = f"roles/{self.taught}/{self.usernames[kind]}"
            given = self.gateway.call("PUT", path, self.gateway.admin, json={"role": role})
            assert given.status_code == 201, given.text

    def _enroll(self) -> None:
        pairs = [(username, self.own) for username in self.usernames.values()]
        pairs += [(self.taught_learner, self.taught), (self.taught_learner, self.elsewhere)]
        pairs += [(self.other_learner, self.elsewhere)]
        lines = "".join(f"{username},{course_id}\n" for username, course_id in pairs)
        status = self.gateway.submit(f"user,course_id\n{lines}").json
        assert status["counts"]["enrolled"] == len(pairs), status

    # --- credentials ----------------------------------------------------------------------

    def _headers(self) -> dict[str, Headers]:
        made = self._invalid_headers() | {NOBODY: {}, EDX_KEY: self.gateway.edx}
        made |= {kind: self.gateway.key(*KEYS[kind], name=_key_name(kind)) for kind in KEYS}
        for kind in (LEARNER, STAFF, *ROLES):
            made[kind] = self._token(kind, staff=kind == STAFF)
        for kind, (staff, scopes) in TOKENS_WITH_KEYS.items():
            key = self.gateway.edx if "EDX" in kind else self.gateway.key(*scopes)
            made[kind] = self._token(kind, staff=staff) | key
        for kind, staff in CLIENTS.items():
            made[kind] = self._client_token(kind, staff=staff)
        assert set(made) == KNOWN | INVALID | {NOBODY}
        return made

    def _token(self, kind: str, *, staff: bool) -> Headers:
        return self.gateway.learner(self.usernames[kind], staff=staff)

    def _client_token(self, kind: str, *, staff: bool) -> Headers:
        client = fresh("client")
        oauth.add_client(self.gateway.sessions, client, user=self.usernames[kind], staff=staff)
        answer = self.gateway.post(oauth.PATH, **oauth.form(oauth.grant(client)))
        return {"Authorization": f"Bearer {answer.json['access_token']}"}

    def _invalid_headers(self) -> dict[str, Headers]:
        client = fresh("client")
        number = oauth.add_client(self.gateway.sessions, client, user="ada", staff=True)
        oauth.revoke_client(self.gateway.sessions, number)
        unknown, _ = new_api_key()
        return {
            "expired token": _signed(now=utc_now() - timedelta(hours=2)),
            "forged token": _signed(SigningKey.of(b"f" * 32), now=utc_now()),
            "token of a revoked client": _signed(now=utc_now(), more={"client_id": client}),
            "expired key": self._key(expires_at=ago(hours=1)),
            "revoked key": self._key(is_revoked=True),
            "unknown key": {"X-Edx-Api-Key": unknown},
        }

    def _key(self, *, is_revoked: bool = False, **more: Any) -> Headers:
        text, digest = new_api_key()
        with self.gateway.sessions.begin() as session:
            number = api_keys.add(
                session,
                name=fresh("key"),
                scopes=frozenset({"admin"}),
                digest=digest,
                now=utc_now(),
                **more,
            )
            if is_revoked:
                api_keys.revoke(session, number, now=utc_now())
        return {"X-Edx-Api-Key": text}


def _signed(key: SigningKey = SIGNING_KEY, **more: Any) -> Headers:
    return {"Authorization": f"JWT {sign_token(key, 'ada', staff=True, **more)}"}


def _key_name(kind: str) -> str:
    return kind.replace(" ", "-")
