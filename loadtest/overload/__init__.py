"""A cluster that sheds, at its capacity and at twice that: the calls that it takes are served as well, the others are
told so."""
