"""Set-wise statements: arrays as parameters, pipelining."""
