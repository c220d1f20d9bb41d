"""Style sheet and scripts of the console, from the package; `/` leads to it."""

from functools import partial
from importlib.resources import files

import falcon
from falcon.asgi import Request, Response

from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.http.headers import preferred_type
from api_gateway.openapi.resource import PageResource, StaticPage, static_page

_SCRIPT, _STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
#: Media types of the files in `static` that are served.
ASSETS = {
    "console.css": _STYLE,
    "console.js": _SCRIPT,
    "htmx.min.js": _SCRIPT,
    "icon.svg": "image/svg+xml",
}


def asset_pages() -> list[ConsolePage]:
    """Returns the routes of the files, and of `/`."""
    return [
        ConsolePage("/", FrontResource(), {"GET": ()}, is_public=True),
        *(
            ConsolePage(
                f"{CONSOLE_PATH}/static/{name}",
                PageResource(partial(_asset, name, media_type)),
                {"GET": ()},
                is_public=True,
            )
            for name, media_type in ASSETS.items()
        ),
    ]


def _asset(name: str, media_type: str) -> StaticPage:
    folder = files("api_gateway.console") / "static"
    return static_page(media_type, (folder / name).read_bytes())


class FrontResource:
    """The root of the service: browsers come here first."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Leads to the console, unless Accept prefers JSON: the API has nothing here."""
        resp.set_header("Vary", "Accept")
        if preferred_type(req, ["text/html", "application/json"]) == "application/json":
            raise falcon.HTTPNotFound
        raise falcon.HTTPSeeOther(CONSOLE_PATH)

    on_head = on_get
