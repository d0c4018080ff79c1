"""L10: webhooks."""

from tests.faults.corruptions.making import Copy, corruption, fresh


@corruption("L10")
def a_delivery_that_was_never_made(copy: Copy) -> str:
    delivery, webhook = copy.one(
        "endorsement",
        "SELECT d.id, d.webhook_id FROM webhook_deliveries d JOIN endorsements e ON e.id = d.endorsement_id "
        "WHERE e.status = 'endorsed' ORDER BY d.id LIMIT 1",
    )
    copy.run(
        "endorsement",
        f"DELETE FROM webhook_attempts WHERE delivery_id = {delivery}",
        f"DELETE FROM webhook_deliveries WHERE id = {delivery}",
    )
    return str(webhook)


@corruption("L10")
def delivered_and_never_received(copy: Copy) -> str:
    webhook = next(line for line in copy.lines("webhook.jsonl") if str(line["answer"]).startswith("2"))["webhook_id"]
    copy.write("webhook.jsonl", (line for line in copy.lines("webhook.jsonl") if line["webhook_id"] != webhook))
    return str(webhook)


@corruption("L10")
def a_forged_signature(copy: Copy) -> str:
    lines = copy.lines("webhook.jsonl")
    lines[-1]["signature"] = "v1,AAAA" + lines[-1]["signature"][7:]
    copy.write("webhook.jsonl", lines)
    return str(lines[-1]["webhook_id"])


@corruption("L10")
def one_event_under_a_second_webhook_id(copy: Copy) -> str:
    lines = copy.lines("webhook.jsonl")
    wrong = fresh()
    copy.write("webhook.jsonl", [*lines, {**lines[-1], "webhook_id": wrong}])
    return wrong


@corruption("L10")
def a_delivery_left_waiting(copy: Copy) -> str:
    delivery = copy.one("endorsement", "SELECT min(id) FROM webhook_deliveries WHERE status = 'delivered'")
    copy.run("endorsement", f"UPDATE webhook_deliveries SET status = 'pending' WHERE id = {delivery}")
    return str(delivery)
