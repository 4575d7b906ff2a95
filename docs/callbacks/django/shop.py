"""A shop that remembers and prints."""

known = set()


def once(webhook_id, what, order):
    line = f"{what} {order}"
    if webhook_id not in known and (what != "fulfilled" or line not in known):
        print(line, flush=True)
    known.update((webhook_id, line))


def fulfil(webhook_id, order):
    once(webhook_id, "fulfilled", order)


def not_paid(webhook_id, order):
    once(webhook_id, "unpaid", order)


def ask_person(webhook_id, order):
    once(webhook_id, "asked", order)
