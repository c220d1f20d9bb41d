"""The query parameters that operations declare, for the middleware that refuses all others."""

from collections.abc import Mapping
from typing import Any

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
            query_names(operation), unknown_parameter_code(operation), _list_names(operation)
        )
        for operations in OPERATIONS.values()
        for operation in operations
        if routes[operation.route] not in v1 and not operation.ignores_unknown
    }


def query_names(operation: Operation) -> frozenset[str]:
    """Returns the names of the query parameters of an operation."""
    return frozenset(it["name"] for it in _query(operation))


def _list_names(operation: Operation) -> frozenset[str]:
    """Returns the names of the query parameters whose value is a list."""
    is_list = (it for it in _query(operation) if it["schema"].get("type") == "array")
    return frozenset(it["name"] for it in is_list)


def _query(operation: Operation) -> list[Mapping[str, Any]]:
    declared = [PARAMETERS[name] for name in operation.parameters.split()]
    return [it for it in declared if it["in"] == "query"]
