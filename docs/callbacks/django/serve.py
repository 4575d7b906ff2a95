"""Serves the documentation's view for Django to the tests of docs/callbacks: it prints its port, then a
line for each thing that the shop does."""

from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="only for this test", LOGGING_CONFIG=None)
django.setup()

from views import dollr_callback  # noqa: E402: after Django is set up

urlpatterns = [path("", dollr_callback)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
print("listening", server.server_port, flush=True)
server.serve_forever()
