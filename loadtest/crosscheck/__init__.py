"""The same calls by SIPp and by us, in turns on one cluster: a generator that measures itself shows that here."""
