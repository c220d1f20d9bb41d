"""Tests of the console in a real browser. A package: its fixtures end with it."""
