"""The audit of the stored data, run by `enroll verify`."""
