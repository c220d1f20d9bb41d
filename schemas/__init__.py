"""Input and output formats: validation with marshmallow, conversion to and from domain values."""
