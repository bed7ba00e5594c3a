"""Lets ``python -m registry_glance`` be the same as ``registry-glance``."""

import sys

from registry_glance.cli import main

sys.exit(main())
