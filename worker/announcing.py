"""After the commit, best effort: wake the waiters, ring for the next batches."""

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from enrollment.queue import QUEUE_OF, TaskName
from enrollment.storage.batches import Waiting
from enrollment.waking import Bell
from worker.answering import Done

log = structlog.get_logger()


class Announcer:
    """Puts ids on the queue and says what was answered. What gets lost the sweeper finds."""

    def __init__(self, app: Celery, bell: Bell) -> None:
        self._app = app
        self._bell = bell

    def announce(self, waiting: Waiting) -> bool:
        """Ring for a batch; False where the queue cannot be reached."""
        try:
            self._app.send_task(
                TaskName.PROCESS.value,
                args=[waiting.id],
                queue=QUEUE_OF[waiting.lane].value,
                retry=False,
            )
        except (OperationalError, OSError) as error:
            log.warning("batch.not_announced", batch_id=waiting.id, because=str(error))
            return False
        return True

    def tell(self, done: Done) -> None:
        """Ring for what is next, then wake those who wait for what was answered."""
        for waiting in done.next:
            self.announce(waiting)
        if done.batch_ids and not self._bell.ring(done.batch_ids, done.submission_ids):
            log.info("waiters.not_woken", batches=len(done.batch_ids))
