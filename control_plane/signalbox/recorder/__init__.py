"""The recorder: brings what media nodes have captured into the object store, as audio."""
