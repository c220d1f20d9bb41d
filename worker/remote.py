"""The application of those who watch workers: `celery --app worker.remote inspect ping`.

It has the broker, the queues and the key prefix of the workers, and no task. The workers answer
where ENROLL_CELERY_REMOTE is true.
"""

from enrollment.runtime.settings import from_env
from worker.celery_app import make_celery_app

#: Connections that a tool may use at the same time: Flower asks workers from several threads, and
#: each of them holds one connection while it waits for another.
MAX_CONNECTIONS = 20

app = make_celery_app(from_env().broker_url, answers_remote=True)
app.conf.update(broker_pool_limit=MAX_CONNECTIONS)
