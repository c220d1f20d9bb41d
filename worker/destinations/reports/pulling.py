"""Keeps the courses here like those of a destination."""

from enrollment.domain.course_keys import matches_course
from enrollment.storage.destinations import pulled_courses
from worker.destinations.reports.job import Job
from worker.destinations.reports.portions import portions

#: Courses of one transaction.
PULLED_TOGETHER = 100


def pull_courses(job: Job) -> None:
    """Reads the courses of the destination and stores what differs."""
    job.counts.update(dict.fromkeys(("courses", "created", "changed", "unchanged"), 0))
    wanted = (
        course
        for course in job.client.read_courses()
        if matches_course(job.courses, course.course_id)
    )
    for courses in portions(wanted, PULLED_TOGETHER):
        with job.writing() as session:
            pulled = pulled_courses.keep_alike(session, courses)
            job.counts["courses"] += len(courses)
            job.counts.update(pulled._asdict())
