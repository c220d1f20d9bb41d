"""Who may do what with whose things: one table, from which tests and documentation are made."""
