"""The wire of libprocess: each message is an HTTP request, which a curl can write as well."""
