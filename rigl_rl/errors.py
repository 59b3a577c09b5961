"""The one exception a user's mistake raises."""


class UserError(ValueError):
  """A mistake in the user's input.

  Its message is one line that names the binding or flag, its value, and what
  is allowed. Launch scripts print that line alone and exit with code 2.
  """
