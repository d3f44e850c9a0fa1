"""A page on this machine where people collect pictures, mend labels, train, try and ship; its work is done by verbs."""
