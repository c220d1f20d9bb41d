"""Renders accounts in the form of the Open edX user API."""

from typing import TypedDict

from enrollment.domain.model import Learner


class AccountJson(TypedDict):
    """A learner as an account."""

    username: str
    email: str | None
    is_active: bool


class MeJson(TypedDict):
    """The user of the credentials."""

    username: str


def dump_account(learner: Learner) -> AccountJson:
    """Renders a learner as an account."""
    return {
        "username": learner.username,
        "email": learner.email,
        "is_active": learner.is_active,
    }
