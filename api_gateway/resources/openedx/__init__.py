"""Resources of Open edX beside its enrollments: roles, allowed enrollments, accounts, courses."""
