"""The demonstration: a sample mailbox, embedded servers, and a guided run of the real commands."""
