"""4n: what only the first releases of Open edX did. A number is that of the table."""

from tests.support.openedx_client import KEY, as_learner, ok


def test_197_a_parameter_that_is_not_known_is_passed_over(edx):
    assert ok(edx.get("/enrollment", KEY, course_id="course-v1:a+b+c")) == []


def test_198_global_staff_read_of_others(edx):
    course, user = edx.course(), edx.learner()
    edx.enrolled(course, user)
    assert ok(edx.get(f"/enrollment/{user},{course}", edx.staff()))["user"] == user


def test_200_a_refused_mode_comes_with_the_course(form):
    course = form.course("professional")
    refused = form.enroll(as_learner(form.learner()), course)
    assert refused.status_code == 400
    assert refused.json()["course_details"]["course_id"] == course
