"""The two ways in which a command ends without success; both carry one line that says what and how to mend it."""


class UsageError(Exception):
    """Wrong arguments or configuration: exit status 2. Nothing was written."""


class StageError(Exception):
    """The stage failed: exit status 1. The tables are as they were."""
