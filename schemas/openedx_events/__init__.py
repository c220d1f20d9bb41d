"""Events of Open edX's event bus: their fields on a Redis stream, and their Avro bodies."""
