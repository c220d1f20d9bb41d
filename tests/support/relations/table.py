"""All relations. Add a route here, and how it is asked in `requests`; the tests are generated."""

from collections.abc import Mapping

from tests.support.relations.model import Key, Rule
from tests.support.relations.openedx_routes import OPENEDX
from tests.support.relations.service_routes import SERVICE
from tests.support.relations.version_2_routes import VERSION_2

TABLE: Mapping[Key, Rule] = {**OPENEDX, **VERSION_2, **SERVICE}
