"""The console: pages of `/console` for registrars and operators, rendered by the gateway.

A browser has a session, begun with an API key or a token (`sessions/`). A page acts as exactly the
caller of that credential: it needs the permissions of the API's operations, and calls the functions
of their resources or the queries that they use.

To add a page: write a module in `pages/` with a resource and a function that returns its pages (URI
template, resource, and the operations of the API from which each method takes its permission);
write its template in `templates/`, which extends `base.html`; call the function in `make_console`;
and add a `NavigationEntry`, which is shown to callers who may open the page. Forms are read with
`read_form`, which checks their token, and contain `{{ form_token() }}`. Templates escape every
value, and contain neither scripts nor styles nor `style` attributes, which the
Content-Security-Policy forbids: widths are attributes of `progress`, `meter` and SVG.
"""
