"""Steps of edx-rest-api-client: `OAuthAPIClient`, which keeps its token in Django's cache."""

import django
from django.conf import settings
from sessions import serve_session
from steps import CLIENT_ID, SECRET, URL

settings.configure()
django.setup()

from edx_rest_api_client.client import OAuthAPIClient  # noqa: E402 (it needs the settings)

serve_session(OAuthAPIClient(URL, CLIENT_ID, SECRET))
