"""Threads that a process of the worker runs beside its tasks."""
