"""One module a format; see `cartalg.render`."""
