"""What a worker has done with a call's media: an rtpengine speaks to the caller, hears keys, connects lines.

``docs/design/voice-media.md`` says what rtpengine can do and why it is used so.
"""
