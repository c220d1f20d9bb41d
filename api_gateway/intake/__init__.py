"""Intake of single requests and uploads, and dispatch to the workers."""
