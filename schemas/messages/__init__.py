"""Sentences for people: about findings, and about the reasons of outcomes."""
