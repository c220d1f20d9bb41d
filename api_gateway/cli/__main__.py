"""`python -m api_gateway.cli`: the command `enroll`, wherever its script is."""

from api_gateway.cli import main

main(prog_name="enroll")
