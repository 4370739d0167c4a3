"""Results for people and for other programs: one module per format, each importing its library alone."""
