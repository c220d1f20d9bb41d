"""`python -m api_gateway.cli`: runs the command `enroll` without its script."""

from api_gateway.cli import main

main(prog_name="enroll")
