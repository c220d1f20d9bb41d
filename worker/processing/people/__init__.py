"""Roles and opt-ins of people, as the batches need and change them."""
