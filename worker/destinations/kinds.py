"""The kinds of destinations that this release can talk to."""

from collections.abc import Mapping

from worker.destinations.openedx.client import OpenedxDestination
from worker.destinations.protocol import KindFactory

#: Makes the client of a destination, by the name of its kind.
KINDS: Mapping[str, KindFactory] = {"openedx": OpenedxDestination}
