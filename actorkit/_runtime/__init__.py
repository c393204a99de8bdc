"""The part with trio in it: mailboxes, the dispatcher, supervisors, the system. Import its names from `actorkit`."""
