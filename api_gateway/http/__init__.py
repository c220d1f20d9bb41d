"""HTTP basics: problems, headers, request bodies, responses, pagination."""
