"""`python -m nearid`: the command line."""

import nearid.cli

nearid.cli.main()
