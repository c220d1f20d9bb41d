"""The ways in: HTTP resources, command line, intake."""
