"""An application that hands in enrollments over Celery, and has no code of this service.

`python submit_client.py BROKER KEY COURSE [USER …]` sends one call for each user.
"""

import json
import sys

from celery import Celery
from kombu import Queue

broker, key, course, *users = sys.argv[1:]
app = Celery("sis", broker=broker)
app.conf.task_queues = [Queue("2-submit", no_declare=True)]
if broker.startswith("redis"):
    app.conf.broker_transport_options = {"global_keyprefix": "enroll:"}
else:
    app.conf.broker_transport_options = {"confirm_publish": True}
for user in users:
    app.send_task(
        "enrollment.submit",
        queue="2-submit",
        ignore_result=True,
        mandatory=True,
        kwargs={
            "key": key,
            "requests": {"user": user, "course_id": course},
            "idempotency_key": f"sis-{user}",
            "reply": "enroll:requests:reply:sis",
        },
    )
sys.stdout.write(json.dumps(len(users)))
