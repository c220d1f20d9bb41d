"""Bodies with one object or one row per line, with their examples."""

import json
from typing import Any

from api_gateway.openapi.examples import COURSE_ID, EXAMPLES
from api_gateway.openapi.model import text

#: The entries of a crosswalk, and those that are yet to be made.
CROSSWALK_CSV = f"kind,theirs,ours\ncourse,MATH-101,{COURSE_ID}\nlearner,s4711,ada\n"
MISSING_CSV = "kind,theirs,ours\ncourse,MATH-102,\n"
#: The differences of a report.
DIFFERENCES_CSV = (
    "difference,user,course_id,mode_here,is_active_here,mode_there,is_active_there,queued\n"
    f"missing_there,ada,{COURSE_ID},audit,true,,,false\n"
)
OUTCOMES_CSV = (
    "user,course_id,mode,outcome,reason,message\n"
    f"bob,{COURSE_ID},audit,refused,invite_required,"
    "The course accepts invited learners only: invite the learner first.\n"
)


def ndjson(name: str) -> dict[str, Any]:
    """Returns the schema of newline-delimited JSON with objects of the component `name`."""
    line = json.dumps(EXAMPLES[name], default=str)
    return text(f"One {name} per line.", examples=[f"{line}\n"])


def csv(description: str, example: str) -> dict[str, Any]:
    """Returns the schema of a CSV file, which generated clients take and give as a file."""
    return text(description, format="binary", examples=[example])
