"""Several GPUs of one host, measured at once: each by a process of its own, on its own cores, with its own pinned
memory (`seat`), all of them by one that gives the time (`report`)."""
