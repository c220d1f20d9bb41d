"""Domain values and rules: pure functions, standard library only."""
