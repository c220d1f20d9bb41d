"""Learners withdraw by themselves where the setting lets them (contract 8, D4)."""

import pytest

from tests.support.gateway import AUDIT, fresh


@pytest.mark.parametrize(("setting", "is_active"), [("true", False), ("false", True)])
def test_the_setting_decides_whether_learners_may_withdraw(start, setting, is_active):
    gateway = start(self_unenroll=setting)
    learner, headers = gateway.learner(fresh("ada")), {"Prefer": "wait=20"}
    ask = {"course_details": {"course_id": gateway.course(AUDIT)}}

    came, went = (
        gateway.answered("POST", "enrollment", learner, json=body, headers=headers)
        for body in (ask, ask | {"is_active": False})
    )

    assert (came.status_code, came.json["is_active"]) == (200, True)
    assert (went.status_code, went.json["is_active"]) == (200, is_active)
