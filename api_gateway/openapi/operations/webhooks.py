"""Operations on webhooks."""

from api_gateway.openapi.model import Operation, Response, json_content
from api_gateway.openapi.operations.crud import BODY_PROBLEMS, TRANSFER_PROBLEMS, Receiver

_RECEIVER = Receiver("webhook", "Webhook", "Deliveries", "listDeliveries")
_ONE = json_content("Webhook")
_BODY = f"{BODY_PROBLEMS} {TRANSFER_PROBLEMS}"


OPERATIONS = (
    _RECEIVER.list_all(
        "oldest first", "The endpoints of other systems to which messages are sent."
    ),
    Operation(
        "webhooks",
        "POST",
        "addWebhook",
        "Add a webhook",
        {201: Response("Added; the secret is never shown again.", _ONE, "Location")},
        description=(
            "Messages are CloudEvents about what happens from now on, signed as Standard Webhooks "
            "says. The URL must be https and of a public server. Its receiver gets a challenge at "
            "first, and the messages about what happens after it has sent it back."
        ),
        body=json_content("NewWebhook"),
        problems=f"too_many_webhooks {_BODY}",
    ),
    _RECEIVER.get("Without its secret."),
    Operation(
        "webhook",
        "PUT",
        "putWebhook",
        "Replace the URL and the filters of a webhook",
        {200: Response("Replaced.", _ONE)},
        description=(
            "Members that are not given get their defaults. The secret stays. Another URL must "
            "answer a challenge before it gets messages."
        ),
        body=json_content("NewWebhook"),
        problems=f"not_found too_many_webhooks {_BODY}",
    ),
    _RECEIVER.delete(),
    _RECEIVER.act(
        "rotate",
        "Replace the secret of a webhook",
        "The secret before it signs as well for 24 hours: each message has two signatures then.",
        "The new secret, which is never shown again.",
    ),
    _RECEIVER.act(
        "enable",
        "Enable a webhook",
        "What is pending is sent as soon as the receiver has answered a new challenge, if it must. "
        "What happened while it was disabled is not.",
        "Enabled, or `unverified` until it answers.",
    ),
    _RECEIVER.act(
        "disable",
        "Disable a webhook",
        "Nothing is sent or queued until it is enabled. An endpoint that answers 410 is disabled.",
        "Disabled.",
    ),
    Operation(
        "webhook_redeliver",
        "POST",
        "redeliverRange",
        "Send the messages about a range of the change feed again",
        {202: Response("The number of messages.", json_content("Queued"))},
        description=(
            "At most 10,000 positions, both ends included. Messages that match the filters are "
            "sent with the same ids, whether they were sent before or not."
        ),
        body=json_content("FeedRange"),
        problems=f"not_found {_BODY}",
    ),
    _RECEIVER.list_deliveries(
        "Each message with its last attempt: status, first bytes of the answer."
    ),
    Operation(
        "webhook_delivery_redeliver",
        "POST",
        "redeliver",
        "Send a message again",
        {202: Response("It is sent at once, with the same id.", json_content("Delivery"))},
        description="The attempts are counted anew.",
        problems="not_found",
    ),
)
