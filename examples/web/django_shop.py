"""The same shop in Django, in one file. Run: gunicorn django_shop:application"""

from __future__ import annotations

import json
import os
import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

import hivemind

settings.configure(ALLOWED_HOSTS=["localhost", "127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY=secrets.token_hex())
hive = hivemind.connect(os.environ.get("HIVE"), timeout=2.0)  # opens when it is first used, in each worker process


def status_of(error: hivemind.HivemindError) -> int:
    """502 where the responder raised, 503 where it may go well later; all else is a mistake of ours."""
    if isinstance(error, hivemind.RemoteError):
        return 502
    return 503 if isinstance(error, hivemind.RedisError | hivemind.SendError | hivemind.RequestError) else 500


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> JsonResponse:
    try:
        hive.send("order.new", json.loads(request.body), durable=True)
        hive.flush(timeout=2.0)  # now Redis has it: it will be handled, whoever is down
    except hivemind.HivemindError as error:
        return JsonResponse({"ordered": False, "why": str(error)}, status=status_of(error))
    return JsonResponse({"ordered": True}, status=202)


urlpatterns = [path("orders", order)]
application = get_wsgi_application()
