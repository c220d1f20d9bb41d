"""4e: mode and activity before and after, each with each. A number is that of the table."""

from itertools import count, product

import pytest

from tests.support.openedx_client import (
    KEY,
    active,
    inactive,
)

H_ON, H_OFF = active("honor"), inactive("honor")
V_ON, V_OFF = active("verified"), inactive("verified")
#: In the order of the numbers: from honor and verified, each to honor and verified.
PAIRS = [
    *((before, after) for before, after in product((H_ON, H_OFF), (H_ON, H_OFF))),
    *((before, after) for before, after in product((V_ON, V_OFF), (V_ON, V_OFF))),
    *((before, after) for before, after in product((H_ON, H_OFF), (V_ON, V_OFF))),
    *((before, after) for before, after in product((V_ON, V_OFF), (H_ON, H_OFF))),
]
_numbers = count(51)
CASES = [pytest.param(*pair, id=f"{next(_numbers):03}") for pair in PAIRS]
#: Who is active is not deactivated under the name of another mode.
MISMATCHES = {(H_ON, V_OFF), (V_ON, H_OFF)}


@pytest.mark.parametrize(("before", "after"), CASES)
def test_the_key_changes_mode_and_activity(form, before, after):
    course, user = form.course("honor", "verified"), form.learner()
    form.enrolled(course, user, **before._asdict())
    assert form.state(course, user) == before

    answer = form.enroll(KEY, course, user=user, **after._asdict())

    if (before, after) in MISMATCHES:
        assert answer.status_code == 400
        assert answer.json()["message"] == (
            f"Enrollment mode mismatch: active mode={before.mode}, "
            f"requested mode={after.mode}. Won't deactivate."
        )
        assert form.state(course, user) == before
    else:
        assert answer.status_code == 200, answer.text
        assert form.state(course, user) == after


def test_067_who_is_created_inactive_is_inactive_in_the_mode_asked_for(form):
    course, user = form.course("honor", "verified"), form.learner()
    shown = form.enrolled(course, user, mode="verified", is_active=False)
    assert (shown["mode"], shown["is_active"]) == ("verified", False)
    (event,) = form.events(course, user)
    assert event["data"]["after"] == {"mode": "verified", "is_active": False}
