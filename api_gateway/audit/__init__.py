"""The audit behind `enroll verify`."""
