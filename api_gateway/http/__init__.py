"""Shared HTTP code: problems, headers, request bodies, responses, pagination."""
