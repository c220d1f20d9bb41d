"""Sample courses and enrollments for `enroll up --demo`."""

import sys
from pathlib import Path

from api_gateway.cli.remote.client import Service, UploadRequest

_SAMPLES = Path(__file__).with_name("samples")


def load_samples(service: Service) -> None:
    """Saves the sample courses, then submits the sample enrollments."""
    for path, name, kind in (
        ("/courses", "courses.json", "application/json"),
        ("/submissions", "enrollments.csv", "text/csv"),
    ):
        upload = UploadRequest(_SAMPLES / name, {"Content-Type": kind}, {})
        service.send(path, upload)
    sys.stdout.write("Sample data loaded.\n")
