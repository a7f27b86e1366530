"""One module a version. A step only adds: processes of the version before go on beside it until they are replaced."""
