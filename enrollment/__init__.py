"""What enrolling is, and its records. Knows neither door."""
