"""Kinds of callers, and the groups of them that the table of relations speaks of."""

Callers = frozenset[str]

NOBODY = "nobody"
LEARNER = "learner"
STAFF = "staff token"
ENROLL, READ, COURSES, ADMIN = "key enroll", "key read", "key courses", "key admin"
EDX_KEY = "ENROLL_EDX_API_KEY"
POWERLESS_KEY = "key without scopes"

#: Learners by their role in the course that the relation `STAFFED` is about.
ROLES = {
    "course staff": "staff",
    "course instructor": "instructor",
    "course limited_staff": "limited_staff",
    "course support": "support",
}
#: Tokens from `/oauth2/access_token`, and whether the client is staff.
CLIENTS = {"client": False, "staff client": True}
#: A token together with a key: whether the token is of staff, and the scopes of the key.
TOKENS_WITH_KEYS = {
    "learner with key enroll": (False, ("enroll",)),
    "learner with key read": (False, ("read",)),
    "learner with key courses": (False, ("courses",)),
    "learner with key admin": (False, ("admin",)),
    "learner with ENROLL_EDX_API_KEY": (False, ("enroll", "read", "courses")),
    "staff with key courses": (True, ("courses",)),
}
KEYS = {
    ENROLL: ("enroll",),
    READ: ("read",),
    COURSES: ("courses",),
    ADMIN: ("admin",),
    POWERLESS_KEY: (),
}

#: Credentials that were never or are no longer valid.
INVALID: Callers = frozenset(
    {
        "expired token",
        "forged token",
        "token of a revoked client",
        "expired key",
        "revoked key",
        "unknown key",
    }
)

#: Subjects of tokens who may do what any learner may, and nothing for others.
LEARNERS: Callers = frozenset(
    {LEARNER, "client", "learner with key read", "learner with key courses", *ROLES}
)
COURSE_STAFF: Callers = frozenset({"course staff", "course instructor"})
ADMINS: Callers = frozenset({ADMIN, "learner with key admin"})
#: Global staff and those who may do what staff may.
STAFFS: Callers = ADMINS | {STAFF, "staff client", "staff with key courses"}
SERVERS: Callers = frozenset(
    {ENROLL, EDX_KEY, "learner with key enroll", "learner with ENROLL_EDX_API_KEY"}
)
#: Those who act for others.
ENROLLERS: Callers = STAFFS | SERVERS
#: Those who list all enrollments, learners and changes.
READERS: Callers = STAFFS | {
    READ,
    EDX_KEY,
    "learner with key read",
    "learner with ENROLL_EDX_API_KEY",
}
#: Those who see the enrollments of any learner.
ONLOOKERS: Callers = ENROLLERS | READERS
COURSE_KEEPERS: Callers = ADMINS | {
    COURSES,
    EDX_KEY,
    "learner with key courses",
    "learner with ENROLL_EDX_API_KEY",
    "staff with key courses",
}
#: Those with a username.
SUBJECTS: Callers = frozenset({STAFF, LEARNER, *ROLES, *CLIENTS, *TOKENS_WITH_KEYS})
#: Callers with valid credentials.
KNOWN: Callers = SUBJECTS | {*KEYS, EDX_KEY}
EVERYBODY: Callers = KNOWN | INVALID | {NOBODY}
