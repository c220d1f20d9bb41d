"""Every shape that crosses a border: marshmallow, and the domain's own values."""
