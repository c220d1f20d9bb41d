"""Blackboard Learn: the snapshot file of course memberships."""

from enrollment.domain.codes import Reason
from schemas.files.formats import base
from schemas.findings import Rule

_STATUSES = {"enabled": True, "disabled": False, "deleted": False}


def _check_is_visible(row: base.RowParser) -> None:
    available = row.cells.get("available_ind", "Y").casefold()
    if available not in {"y", "n"}:
        row.report("available_ind", Rule.ONE_OF, "known are Y, N")
    elif available == "n" and _STATUSES.get(row.cells.get("row_status", "enabled").casefold()):
        row.skip("available_ind", Reason.STATUS_NOT_APPLICABLE)  # nothing is hidden here


FORMAT = base.Format(
    name="blackboard",
    title="Blackboard snapshot memberships",
    columns={
        "EXTERNAL_COURSE_KEY": base.COURSE_COLUMN,
        "EXTERNAL_PERSON_KEY": base.LEARNER_COLUMN,
        "ROLE": base.ROLE_COLUMN,
        "ROW_STATUS": base.STATUS_COLUMN,
        "AVAILABLE_IND": base.STATUS_COLUMN,
    },
    identifying_columns=(("EXTERNAL_COURSE_KEY",), ("EXTERNAL_PERSON_KEY",)),
    other_columns=frozenset(
        {
            "data_source_key",
            "new_data_source_key",
            "external_organization_key",
            "image_file",
            "introduction",
            "link_desc_1",
            "link_desc_2",
            "link_desc_3",
            "link_name_1",
            "link_name_2",
            "link_name_3",
            "link_url_1",
            "link_url_2",
            "link_url_3",
            "notes",
            "pinfo",
            "receive_email_ind",
            "roster_ind",
        }
    ),
    footer="***filefooter",
    learner_roles=frozenset({"student", "s"}),
    is_role_required=False,  # no role means student
    statuses=_STATUSES,
    default_status=True,
    check=_check_is_visible,
)
