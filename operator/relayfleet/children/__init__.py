"""What child objects look like: builders, one file per kind. Pure: a resource and a few settings in, an object as a dict out."""
