"""Operations on learners."""

from api_gateway.openapi.operations.crud import Resource, get_put_delete, save_many

_LEARNER = Resource(
    "learner",
    "Learner",
    "a learner",
    body="LearnerMembers",
    response="KeptLearner",
    bad_url="invalid_username",
    not_found="learner_not_found",
    get="The state in the database. Learners see their own; anybody else's is 404 to them.",
    put="Members that are not given get their defaults.",
    put_conflict="email_taken",
    delete="Only a learner who was never enrolled can be deleted.",
    delete_conflict="learner_in_use",
)

OPERATIONS = (
    save_many("learners", "Learner", conflict="email_taken"),
    *get_put_delete(_LEARNER),
)
