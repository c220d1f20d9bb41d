"""The query parameters that operations declare, for the middleware that refuses all others."""

from collections.abc import Mapping

from api_gateway.http.query_parameters import DeclaredParameters
from api_gateway.openapi.document import OPERATIONS
from api_gateway.openapi.model import Operation, unknown_parameter_code
from api_gateway.openapi.parameters import PARAMETERS


def declared_parameters(
    routes: Mapping[str, str], v1: frozenset[str]
) -> dict[tuple[str, str], DeclaredParameters]:
    """Returns the parameters by URI template and method, but of those that ignore others."""
    return {
        (routes[operation.route], operation.method): DeclaredParameters(
            query_names(operation), unknown_parameter_code(operation)
        )
        for operations in OPERATIONS.values()
        for operation in operations
        if routes[operation.route] not in v1 and not operation.ignores_unknown
    }


def query_names(operation: Operation) -> frozenset[str]:
    """Returns the names of the query parameters of an operation."""
    declared = [PARAMETERS[name] for name in operation.parameters.split()]
    return frozenset(it["name"] for it in declared if it["in"] == "query")
