import base64
import hashlib
import hmac
import json
import os
import time

from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

import shop  # yours

SECRET = os.environ["DOLLR_CALLBACK_SECRET"]


# Takes the callbacks of dollr-relay. Each call of the shop is one transaction that also remembers the
# webhook-id, and does nothing if that is known already: callbacks come at least once.
@csrf_exempt
@require_POST
def dollr_callback(request):
    body = request.body  # the raw bytes, as they were signed
    if not signed(request.headers, body):
        return HttpResponse("not signed by our relay", status=401)
    event = json.loads(body)
    webhook_id = request.headers["webhook-id"]
    order = event["data"]["metadata"].get("order", "")
    kind = event["type"]
    if event.get("test"):
        pass  # from `callbacks trigger`: nothing was paid
    elif kind == "payment.succeeded":
        shop.fulfil(webhook_id, order)  # once per order, whatever payment it was
    elif kind in ("payment.failed", "payment.canceled", "payment.expired"):
        shop.not_paid(webhook_id, order)  # still payable; a success may come later
    elif kind in ("payment.mismatch", "payment.contradicted"):
        shop.ask_person(webhook_id, order)  # the money and the order do not agree
    return HttpResponse(status=204)  # an exception becomes a 500, and the relay tries again


# Standard Webhooks by hand. With `pip install standardwebhooks` it is
# Webhook(SECRET).verify(body, dict(request.headers)), which raises.
def signed(headers, body):
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not webhook_id or not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
        return False  # five minutes: a recorded callback cannot be replayed later
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    want = "v1," + base64.b64encode(digest).decode()
    given = headers.get("webhook-signature", "").split(" ")  # one per secret of the relay
    return any(hmac.compare_digest(want.encode(), one.encode()) for one in given)
