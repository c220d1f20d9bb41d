"""Operations on invitations."""

from api_gateway.openapi.operations.crud import Resource, get_put_delete

OPERATIONS = get_put_delete(
    Resource(
        "invitation",
        "Invitation",
        "an invitation",
        body="Invitation",
        response="KeptInvitation",
        bad_url="invalid_course_id invalid_email",
        not_found="not_found",
        put="The course need not exist yet. An invitation that was used stays used.",
        body_required=False,
        tail="{course_id}/{email}",
    )
)
