"""Audio for telephones: any file becomes G.711 of one loudness, in a process of its own."""
