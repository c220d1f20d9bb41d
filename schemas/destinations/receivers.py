"""Fields that webhooks and destinations share."""

from typing import Any

from marshmallow import ValidationError

from enrollment.domain.course_keys import MAX_COURSE_ID, is_course_filter
from schemas.fields import BoundedString

#: Longest URL of a receiver.
MAX_RECEIVER_URL = 2_000
#: Most values of one filter.
MAX_COURSE_FILTERS = 100


class CourseFilter(BoundedString):
    """A course key, or `org+*`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_COURSE_ID, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not is_course_filter(text):
            raise ValidationError("course_key")
        return text
