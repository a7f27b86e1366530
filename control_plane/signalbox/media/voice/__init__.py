"""What a media node does for workers with voice: tells them of keys, and has files to play."""
